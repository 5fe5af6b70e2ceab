"""The main job: a photograph recovered block by block from a few measurements of each block.

Block compressive sensing (Gan 2007, doi 10.1109/ICDSP.2007.4288604): the image is cut into B x B
blocks; of each, m = ratio B^2 numbers are measured, the mean and m - 1 products with a
`homfast.measure` operator. Estimators that map measurements to blocks are trained on the patches of
other photographs and compared: the best linear one, bias-free ReLU networks with one and with two
hidden layers, and a classical sparse-recovery method.

Blocks are a set that is symmetric under change of sign. There a bias-free network with one hidden
layer is no better than its own linear part, and one with two can be (Bamberger, Heckel, Krahmer,
arXiv 2308.02836); the job lets one see it.
"""
