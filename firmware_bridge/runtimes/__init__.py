"""Running a model file on whichever runtime is here, behind one seam.

    choice     which runtimes there are, and which of them runs which file
    errors     what can go wrong, whatever the runtime
    model      the seam: a loaded model, its tensors, what they are fed and compared with
    tflite     ai-edge-litert and tflite-runtime
    onnx       onnxruntime, with its execution providers
    features   a TFLite file whose features are an output too
    featured   such a file, loaded: features of inputs
    installed  finds the runtime that is wanted and installed

``choice``, ``errors`` and ``features`` import nothing heavy. The others import numpy, so only
child processes and the host may import them, never the daemon. Timing, memory and verdicts belong
to ``firmware_bridge.bench``.
"""
