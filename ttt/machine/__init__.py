"""The machine that a process runs on: what it is, and the share of it that the process gets.

The only room that reads NVML (`nvml`) and the kernel's files under /sys and /proc (`kernel`,
`topology`, `quota`, `mounts`). Three groups of modules:

* CPUs: `topology` reads the cores, `quota` what a container may use of them, `divide` and
  `affinity` divide them among the ranks of a node, and `binding` carries the division out.
* GPUs: `visible_gpus` knows which of them CUDA shows a process, `peaks` what they could compute.
* What goes into a run folder: `environment` and `description`, from `hardware` and `installed`;
  and `page_cache`, which the data set leaves before a run.
"""
