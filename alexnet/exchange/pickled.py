"""Python 2's pickles of numpy arrays, read without executing anything, and written. The reader knows arrays, numbers and plain
containers; objects of the 2012 program's own classes (its options) become blanks that keep nothing; any other name is refused
before anything happens. Neither numpy's nor anyone's constructor runs: a picture of what the file says is kept, and looked at."""

import io
import pickle
import zipfile

import numpy as np

from alexnet.errors import Refused

CODES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}
PROGRAM = {"options", "layer", "convnet", "gpumodel", "data", "util", "convdata", "convdata_jpeg", "convdata_cifar",
           "convdata_flickr"}
ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")


def load(path):
    """The content of a pickle, or of the pickle in a .zip, which the program of 2011 wrote. Text is bytes: see text()."""
    try:
        with open(path, "rb") as file:
            start = file.read(4)
            file.seek(0)
            if start == b"PK\3\4":
                with zipfile.ZipFile(file) as archive:
                    file = io.BytesIO(archive.read("data"))
            return _Reader(file, encoding="bytes").load()
    except Refused as refusal:
        raise Refused(f"{path} is refused, and nothing in it was executed: {refusal}") from None
    except MemoryError:
        raise Refused(f"{path} asks for more memory than there is: it is damaged, or made to do harm, and "
                      "nothing in it was executed.") from None
    except Exception as error:  # a damaged pickle sets off nearly anything
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise Refused(f"{path} cannot be read as a pickle of arrays ({reason}), and nothing in it was executed.") from None


def text(value):
    """Python 2's text, whatever it was pickled as."""
    return value.decode("latin1") if isinstance(value, bytes) else value


class Array:
    """An array as the file has it: sizes, kind, order in memory, bytes. array() makes it."""

    __slots__ = ("shape", "kind", "columns_first", "content")

    def __setstate__(self, state):
        _, self.shape, self.kind, self.columns_first, self.content = state

    def array(self):
        if not hasattr(self, "content"):
            raise Refused("an array in it was begun and never filled.")
        code = getattr(self.kind, "code", None)
        shape, content = self.shape, self.content
        if code not in CODES:
            raise Refused(f"an array in it is of kind {code!r}; numbers are accepted.")
        if not isinstance(shape, tuple) or not all(isinstance(side, int) and side >= 0 for side in shape):
            raise Refused("an array in it has sizes that are no whole numbers.")
        content = content.encode("latin1") if isinstance(content, str) else content
        kind = np.dtype(self.kind.order + code)
        count = 1
        for side in shape:
            count *= side
        if not isinstance(content, bytes) or len(content) != count * kind.itemsize:
            raise Refused(f"an array in it of sizes {list(shape)} has not as many bytes as it needs.")
        return np.frombuffer(content, kind).reshape(shape, order="F" if self.columns_first else "C")


class Kind:
    """A dtype as the file has it."""

    __slots__ = ("code", "order")

    def __init__(self, code):
        self.code, self.order = text(code), "<"

    def __setstate__(self, state):
        self.order = {"<": "<", ">": ">", "|": "|"}.get(text(state[1]), "<")


class Blank:
    """An object of the program's own: takes whatever it is given, keeps nothing, does nothing."""

    __slots__ = ()

    def __call__(self, *given):
        return self

    def __setstate__(self, state):
        pass


class Known:
    """A name that may stand in a file, and what is made in its place. No attribute of it can be set."""

    __slots__ = ("_make",)

    def __init__(self, make):
        object.__setattr__(self, "_make", make)

    def __call__(self, *given):
        return self._make(*given)

    def __setattr__(self, name, value):
        raise Refused("it changes what a name stands for.")

    __setstate__ = __setattr__


class Ordered(dict):
    """An ordered dictionary; what Python 2 keeps beside its items is left out."""

    def __setstate__(self, state):
        pass


def _scalar(kind, content=b""):
    one = Array()
    one.__setstate__((1, (1,), kind, False, content))
    return one.array()[0].item()


class _Reader(pickle.Unpickler):
    def find_class(self, module, name):
        if module in ARRAYS and name == "_reconstruct":
            return Known(lambda *given: Array())
        if module in ARRAYS and name == "scalar":
            return Known(_scalar)
        if module == "numpy" and name in ("ndarray", "dtype"):
            return Known(lambda code=None, *given: Kind(code))  # ndarray is only ever named, as an argument
        if name == "OrderedDict" and module in ("collections", "ordereddict"):
            return Known(lambda items=(): Ordered(items))
        if name == "set" and module in ("__builtin__", "builtins"):
            return Known(lambda items=(): set(items))
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes for Python 2
            return Known(lambda said, code="latin1": text(said).encode("latin1"))
        if module in PROGRAM:
            return Blank()
        raise Refused(f"it names {module}.{name}, and only arrays, numbers and plain containers are read.")


# ---- out -------------------------------------------------------------------------------------------------------------------


def dump(value, file):
    """As cPickle of Python 2 writes it, protocol 2: text and the bytes of arrays as its strings."""
    file.write(pickle.PROTO + b"\x02")
    _write(value, file)
    file.write(pickle.STOP)


def _write(value, file):
    if value is None or isinstance(value, bool):
        file.write({None: pickle.NONE, True: pickle.NEWTRUE, False: pickle.NEWFALSE}[value])
    elif isinstance(value, int):
        file.write(pickle.BININT + value.to_bytes(4, "little", signed=True))
    elif isinstance(value, float):
        file.write(pickle.BINFLOAT + np.array(value, ">f8").tobytes())
    elif isinstance(value, str | bytes):
        content = value.encode("utf-8") if isinstance(value, str) else value
        short = len(content) < 256
        file.write((pickle.SHORT_BINSTRING if short else pickle.BINSTRING) + len(content).to_bytes(1 if short else 4, "little"))
        file.write(content)
    elif isinstance(value, np.ndarray):
        _write_array(value, file)
    elif isinstance(value, dict):
        file.write(pickle.EMPTY_DICT + pickle.MARK)
        for pair in value.items():
            for one in pair:
                _write(one, file)
        file.write(pickle.SETITEMS)
    elif isinstance(value, list | tuple):
        file.write((pickle.EMPTY_LIST if isinstance(value, list) else b"") + pickle.MARK)
        for one in value:
            _write(one, file)
        file.write(pickle.APPENDS if isinstance(value, list) else pickle.TUPLE)
    else:
        raise TypeError(f"{type(value).__name__} has no place in a checkpoint")


def _write_array(value, file):
    """_reconstruct(ndarray, (0,), 'b'), then its state: version, sizes, kind, order, bytes."""
    by_columns = value.flags.f_contiguous and not value.flags.c_contiguous
    file.write(pickle.GLOBAL + b"numpy.core.multiarray\n_reconstruct\n" + pickle.MARK + pickle.GLOBAL + b"numpy\nndarray\n")
    _write((0,), file)
    _write("b", file)
    file.write(pickle.TUPLE + pickle.REDUCE + pickle.MARK)
    _write(1, file)
    _write(value.shape, file)
    file.write(pickle.GLOBAL + b"numpy\ndtype\n" + pickle.MARK)
    for one in (value.dtype.str[1:], 0, 1):
        _write(one, file)
    file.write(pickle.TUPLE + pickle.REDUCE)
    _write((3, "<" if value.dtype.itemsize > 1 else "|", None, None, None, -1, -1, 0), file)
    file.write(pickle.BUILD)
    _write(by_columns, file)
    _write(value.tobytes("F" if by_columns else "C"), file)
    file.write(pickle.TUPLE + pickle.BUILD)
