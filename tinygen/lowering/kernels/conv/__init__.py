"""Convolutions, transposed ones too. Per core the cheapest that matches is taken; most also compute dense layers.

===========================  ========================  =====================================================
module                       cores                     when
===========================  ========================  =====================================================
conv_2d, conv_2d_codes       any                       the reference, of TFLite's layers and of codes; the last resort
conv_2d_dsp                  Armv7E-M                  integers of up to 16 bits: two pixels times four filters
conv_2d_scalar               RV32IM, Cortex-M0+        four pixels times four filters; dense layers too
conv_2d_offset               Cortex-M0+                the same with two filters' weights in a halfword
packed_rows                  all with products         few bits: several products in one multiplication
kernel_scales                all with products         APSQ: sums from tables, then each kernel's scale
shift_add                    any                       few different weights: tables of shifted sums
instruction_stream           any, where flash allows   few non-zero bits: every weight is an instruction
xnor_conv_2d                 any                       single bits times single bits
sparse_conv_2d               any without SIMD          mostly zero kernels
sparse_conv_2d_dsp           Armv7E-M                  mostly zero kernels, rows, columns or blocks
boosted_conv_2d_dsp/_scalar  Armv7E-M / others         all channels live, multipliers scaled by a gate's gammas
transpose_conv               any                       the reference
transpose_conv_phases        any with products         one convolution for each place modulo the stride
===========================  ========================  =====================================================

`jobs` prepares layers for `conv_2d_dsp` and its like; `stream_order` orders the additions of `instruction_stream` and
`shift_add`, `live_units` the loops of `sparse_conv_2d_dsp`.
"""
