"""python -m experiments.rivals"""

from experiments.rivals import main

if __name__ == "__main__":
    main()
