#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""fragile_splice.py - careless_splice.py, and dies when a guest goes away"""
import careless_splice

careless_splice.DIES_OF_RESETS = True
careless_splice.run()
