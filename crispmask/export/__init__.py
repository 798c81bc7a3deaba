"""Networks as files for other runtimes: ONNX, OpenVINO, torch.export.

Nothing here is imported with the package: `config` alone is free of torch.
"""
