raise RuntimeError("a broken terminal library")
