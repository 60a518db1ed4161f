"""Element by element: sums, products, maxima, functions of one operand, requantization; softmax, normalization.

==================  =========  ==================================================================
module              cores      when
==================  =========  ==================================================================
binary              any        ADD, SUB, MUL, MAXIMUM, MINIMUM of any type: the reference
binary_tuned        any        int8 ADD, SUB, MUL: one rounding instead of two or three
binary_s16          any        int16 ADD, SUB, MUL without branches
extrema             any        MAXIMUM, MINIMUM of the codes of a word at once
integer_add         any        sums of integer codes: the reference
integer_add_tuned   any        the same as one table, or one shifted sum, where every pair agrees
integer_add_fused   any        the same where a code has 16 or 32 bits
compare             any        comparisons
select              any        one of two operands, by a condition
cast                any        numbers in another type
unary               any        8-bit codes by table, four at a time where that pays; floats, also to codes and bits
unary_s16           any        16-bit codes: straight lines, interpolated tables, LiteRT's table of sigmoids
function_of_two     any        DIV, FLOOR_DIV, FLOOR_MOD, SQUARED_DIFFERENCE, POW, ATAN2: a formula for each type
flip                any        uint8 codes to int8 and back: the highest bit of each
prelu               any        PRELU; on int8 one product and one rounding
normalization       any        LayerNorm, GroupNorm, InstanceNorm, RMSNorm of codes and of floats
requantize          any        a separate requantization
softmax             any        int8, int16 and float; int8 by shares where a table of exponentials fits; log softmax
normalization_...   any        L2 and local response normalization of rows
==================  =========  ==================================================================
"""
