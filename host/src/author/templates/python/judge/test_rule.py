"""python3 -m unittest"""

import unittest

import rule


class Rule(unittest.TestCase):
    def test_scores(self):
        self.assertEqual(rule.score(-6.0, 4, 0), -1.5)
        self.assertEqual(rule.score(-6.0, 4, 0.25), -2.5)

    def test_abstentions(self):
        self.assertEqual(rule.score(0.0, 0, 0), "the response has no tokens")
        self.assertEqual(rule.score(float("-inf"), 4, 0), "the log-probability is not finite")
