"""Image classification as an application: pictures to codes, networks trained on digits, and how they compare.

images.py     image files to the pixels that a model was trained on
pixels.py     pixels to the codes of a model's input
answers.py    a model's output to a class, with its probability and margin
labels.py     names of classes
choices.py    the compressed networks that there are to choose from, and where they are kept
training.py   how they are trained (needs torch and mlxtend)
tested.py     one build on its board: accuracy, latency, energy, memory, and whether it is the semantics' own
pareto.py     which of them nothing else beats, and the picture of it
page.py       report.html
"""
