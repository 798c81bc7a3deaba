"""RTMDet-Ins: a one-stage detector whose priors also predict mask kernels."""
