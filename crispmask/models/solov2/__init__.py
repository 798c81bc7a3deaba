"""SOLOv2: instances by location on grids, masks by dynamic convolution."""
