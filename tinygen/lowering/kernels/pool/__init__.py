"""Pools, means, maxima, minima and their positions, cumulative sums.

====================  =============  =================================================================
module                cores          when
====================  =============  =================================================================
pool_2d               any            the reference
pool_2d_dsp           Armv7E-M       largest of four bytes, or of two halves, in a word
max_pool_2d_scalar    RV32IM, M0+    four bytes compared by subtraction
packed_pool_2d        any            codes of 4 and 2 bits that stay packed
binary_pool_2d        any            single bits, 32 channels in a word
summed_pool_2d        any            sums and averages, four channels at a time
reduce                any            MEAN, REDUCE_MAX and others over any axes: the reference
reduce_tuned          any            reduced axes that lie together: the window of a pool above
cumulative_sum        any            CUMSUM
====================  =============  =================================================================
"""
