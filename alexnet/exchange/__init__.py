"""Other programs' formats, a file each: what goes out and what comes in. Their libraries are imported here, when asked for."""
