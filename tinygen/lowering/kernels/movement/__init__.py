"""Elements that move: slices, transposes, pads, joins, look-ups, resizes. Nothing is computed but interpolation.

===============  ==========================================================================
module           when
===============  ==========================================================================
movement         STRIDED_SLICE, TRANSPOSE, BROADCAST_TO, SPLIT, UNPACK, CONCATENATION, PACK, PAD,
                 MIRROR_PAD
gather           GATHER, GATHER_ND, SCATTER_ND, DYNAMIC_UPDATE_SLICE: places that are data
reshape          the output lies where the input does
rows             windows of rows of a network that streams
resize           nearest and bilinear, any type: the reference
bilinear_words   bilinear on int8: four codes in two words, where weights are short
===============  ==========================================================================
"""
