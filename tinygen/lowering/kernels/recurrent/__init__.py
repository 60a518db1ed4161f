"""Recurrent layers: a loop over the steps of a sequence, with states that outlive an invocation.

==================  =========  ==================================================================
module              cores      when
==================  =========  ==================================================================
lstm                any        LSTM of floats, and TFLite's integer one: four gates of a unit at once; with SMLAD on
                               Armv7E-M where sums are small enough
gru                 any        GRU of floats, and of int8 codes with a state of 16 bits; SMLAD likewise
svdf                any        SVDF of floats, and of int8 codes with a state of 8 or 16 bits; SMLAD likewise
==================  =========  ==================================================================
"""
