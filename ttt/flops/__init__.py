"""Tensor FLOPs of a model, and utilization by MLCommons' formula.

training_rules.adoc, "Appendix: Utilization": `model_tensor_flops /
(peak_system_tensor_flops_per_second * runtime_seconds)`. `formulas` has closed forms, `published`
those of MLPerf's benchmarks, `counter` counts where there is no closed form. Only `counter` imports
torch.

The rules leave three things open; ttt decides:

* Samples: those that were trained. Evaluation adds to the time and not to the FLOPs, as in the
  figures that submitters publish (NVIDIA's MODEL_TFLOP_PER_SAMPLE).
* Backward: what the chain rule needs. The gradient of the input of a first layer on pixels or
  numbers is not needed and not counted.
* Causal attention: `benchmark.causal_flops` says whether half of it counts or all.
"""
