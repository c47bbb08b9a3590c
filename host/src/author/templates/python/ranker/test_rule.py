"""python3 -m unittest"""

import unittest

import rule


class Rule(unittest.TestCase):
    def test_ranks(self):
        self.assertEqual(rule.ranks([0.3, 1.2, None, 1.2, -0.5]), [3, 1, 0, 1, 4])
        self.assertEqual(rule.ranks([]), [])

    def test_pairs(self):
        self.assertEqual(rule.pick([0.3, 1.2, None, 1.2, -0.5], 0), (1, 4))
        self.assertEqual(rule.pick([1.0, None], 0), "fewer than two scored responses")
        self.assertEqual(rule.pick([1.0, 1.0], 0), "all scores tie")
        self.assertEqual(rule.pick([1.0, 1.5], 1), "the margin is below min-margin")
