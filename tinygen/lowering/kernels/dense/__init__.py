"""Dense layers, matrix products, and convolutions whose window is the whole input.

=====================================  ============  ========================================================
module                                 cores         when
=====================================  ============  ========================================================
fully_connected, fully_connected_codes any           the reference, of TFLite's layers and of codes
fully_connected_dsp                    Armv7E-M      codes within a byte, weights of 8 bits or fewer
fully_connected_packed                 Armv7E-M      plans of `fully_connected_dsp` for less than 8 bits
fully_connected_pairs_dsp              Armv7E-M      activations or weights beyond a byte
fully_connected_packed_pairs_dsp       Armv7E-M      the same, weights as indices of values
fully_connected_table_dsp              Armv7E-M      the same, two indices looked up at once
packed_dense                           Armv7E-M      few bits: four products in one multiplication
fully_connected_few_dsp                Armv7E-M      one to three outputs
fully_connected_lines                  without SIMD  small layers, one output at a time
fully_connected_two_outputs            without SIMD  weights of up to 5 bits: one product for two outputs
xnor_fully_connected                   any           single bits times single bits
sparse_fully_connected                 any           single weights are zero
sparse_fully_connected_groups          any           N of M neighbours live
sparse_fully_connected_blocks, _tiles  Armv7E-M      blocks of 1x2, 1x4, 2x2; tiles of 4x4
conv_2d_whole                          any           the window is the whole input: the kernels above
batch_matmul                           any           products of two tensors that are computed
=====================================  ============  ========================================================

Other dense layers on cores without SIMD are `conv.conv_2d_scalar`'s, tables of shifted sums `conv.shift_add`'s.
"""
