"""Image classification as an application: pictures to codes, networks trained on digits, and how they compare.

images.py     image files to the pixels that a model was trained on
pixels.py     pixels to the codes of a model's input
answers.py    a model's output to a class, with its probability and margin
labels.py     names of classes
choices.py    the available compressed networks, and the folder of trained ones
training.py   their training (needs torch and mlxtend)
tested.py     one build on its board: accuracy, latency, energy, memory, and agreement with the integer semantics
pareto.py     the Pareto front, and its plot
page.py       report.html
"""
