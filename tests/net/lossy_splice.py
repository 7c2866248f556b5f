#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""lossy_splice.py - careless_splice.py, and loses bytes of long streams"""
import careless_splice

careless_splice.LOSES_AFTER = 1 << 20
careless_splice.run()
