"""Depthwise convolutions.

===========================  ============  ==================================================================
module                       cores         when
===========================  ============  ==================================================================
depthwise_conv_2d            any           the reference; on Armv7E-M also windows that no tuned kernel takes
depthwise_conv_2d_dsp_rows   Armv7E-M      integers of up to 16 bits: pairs of rows, two products at once
depthwise_conv_2d_sliced     any           codes of 1 and 2 bits: 32 channels at once, bit by bit
depthwise_conv_2d_scalar     RV32IM, M0+   channel by channel, its weights in registers
depthwise_conv_2d_columns    Cortex-M0+    3x3 windows, down a column
depthwise_conv_2d_low_words  Cortex-M0+    other windows, sums requantized without long products
===========================  ============  ==================================================================

`depthwise_conv_2d_dsp` makes the plans of `depthwise_conv_2d_dsp_rows`, `lanes` the words of
`depthwise_conv_2d_sliced`; `low_words` and `guessed` requantize with products of 32 bits alone, for the Cortex-M0+.
"""
