"""python3 -m unittest"""

import unittest

import rule


class Rule(unittest.TestCase):
    def test_tau(self):
        # One of ten pairs is discordant.
        self.assertEqual(rule.tau([5, 4, 3, 2, 1], [4, 5, 3, 2, 1]), 0.8)
        self.assertIsNone(rule.tau([1, 2], [5, 5]))
        self.assertIsNone(rule.tau([], []))

    def test_consistency(self):
        self.assertEqual(rule.consistency([5, 4, 3, 2, 1], [4, 5, 3, 2, 1], 0), 0.9)
        self.assertEqual(rule.consistency([1, 2, None], [2, 1, 5], 0.25), 0.25)
        self.assertEqual(rule.consistency([1, None], [None, 2], 0), 0.5)
