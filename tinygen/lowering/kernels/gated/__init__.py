"""Networks that decide while they run: gated channels, experts, early exits.

==============================  =============  ==================================================================
module                          cores          when
==============================  =============  ==================================================================
branch, confidence              any            early exits: the switch, and the measures it compares
channels, dynamic, depthwise    any            gates, their lists, convolutions of live channels: the reference
gather_conv_2d_dsp/_scalar      Armv7E-M /     a fixed number of live channels, weights gathered four filters
                                others         at a time
masked_conv_2d_dsp/_scalar      Armv7E-M /     a number that depends on the input
                                others
experts                         any            TOPK and weighted sums of mixtures of experts
mix_weights_by_four             any            sums of experts' weights, side by side
==============================  =============  ==================================================================
"""
