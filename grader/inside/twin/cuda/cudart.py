"""Gone in cuda-python 13; here for those who come from older code."""

raise ImportError("cuda-python 13 has no cuda.cudart any more: from cuda.bindings import runtime as cudart")
