"""Elements that move: slices, transposes, pads, joins, resizes. Nothing is computed but interpolation.

===============  ==========================================================================
module           when
===============  ==========================================================================
movement         STRIDED_SLICE, TRANSPOSE, SPLIT, UNPACK, CONCATENATION, PACK, PAD, MIRROR_PAD
reshape          the output lies where the input does
rows             windows of rows of a network that streams
resize           nearest and bilinear, any type: the reference
bilinear_words   bilinear on int8: four codes in two words, where weights are short
===============  ==========================================================================
"""
