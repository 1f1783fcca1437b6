"""Which CPUs each process of a node computes on. Knows neither torch nor any launcher.

`topology` reads the machine, `quota` what a container may use of it, `plan` divides it, and
`binding` carries the division out.
"""
