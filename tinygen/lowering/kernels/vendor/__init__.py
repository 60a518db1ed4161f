"""Layers as calls of a vendor's kernels: CMSIS-NN (Arm) and ESP-NN (Espressif).

A call is taken where the vendor's arithmetic and limits allow; other layers stay ours. The vendor's buffers are asked
for at build time (`VendorCall.buffer_query`).
"""
