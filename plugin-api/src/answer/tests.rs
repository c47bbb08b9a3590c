use super::*;

#[test]
fn answers_are_found_where_they_stand() {
    let cases: &[(&str, &str, Option<&str>)] = &[
        // The four defects of the reference code (method.md, trap 10).
        ("choice", "The best choice is C, because it is a good fit", Some("C")),
        ("choice", "Answer: **B** since C is a trap", Some("B")),
        ("number", "### Step 1\nadd 2 and 3\nAnswer: 5", Some("5")),
        ("number", "Answer: 3 x 4 = 12", Some("12")),
        // Markers.
        ("number", "Answer: 4\nNo, wait.\nANSWER: 5", Some("5")),
        ("number", "**Answer:** 5", Some("5")),
        ("number", "**Answer**: 5 (from step 2)", Some("5")),
        ("number", "Final answer:\n\n 7 apples, not 8", Some("7")),
        ("number", "Answer: 5\nAnswer:", Some("5")),
        ("number", "1 and 2. Answer: none", None),
        ("exact", "I think.\nAnswer: **stone** ", Some("stone")),
        ("exact", "  stone\n", Some("stone")),
        ("exact", " ", None),
        // Numbers.
        ("number", "2 + 3 makes 5", Some("5")),
        ("number", "so it is $1,234.50.", Some("1234.5")),
        ("number", "Answer: -3", Some("-3")),
        ("number", "Answer: −3.0", Some("-3")),
        ("number", "Answer: 007", Some("7")),
        ("number", "Answer: -0.0", Some("0")),
        ("number", "Answer: .5", Some("0.5")),
        ("number", "take 7-4 away", Some("4")),
        ("number", "1,2345", Some("2345")),
        ("number", "vitamin B12", None),
        ("number", r"hence \boxed{42}, as 6 x 7", Some("42")),
        ("number", "#### 72", Some("72")),
        ("number", "no digits", None),
        // As models answer GSM8K's questions.
        ("number", "She sold 48/2 = 24 clips in May.\n48+24 = 72 in all.\n#### 72", Some("72")),
        ("number", "#### 1,450\nThat is 3 days of work.", Some("1450")),
        ("number", "The answer is 18. I checked it 2 times.", Some("18")),
        ("number", "So the answer is $1,080.00 for 12 months.", Some("1080")),
        ("number", "The answer is: 6 eggs (2 a day for 3 days)", Some("6")),
        ("number", "The answer is **42**.", Some("42")),
        ("number", "Answer: 70,000 dollars", Some("70000")),
        ("number", "Answer: $70,000", Some("70000")),
        ("number", "Answer: 18 dollars a day, 540 a month", Some("18")),
        ("number", "Answer: 18.00", Some("18")),
        ("number", "Answer: 2.50 euros", Some("2.5")),
        ("number", "Answer: -$5", Some("-5")),
        ("number", "Answer: $-5", Some("-5")),
        ("number", "Answer: a loss of −5 dollars", Some("-5")),
        ("number", "Answer: 50%", Some("50")),
        ("number", "Answer: 12.5 %", Some("12.5")),
        ("number", "Answer: 5 (2 + 2 = 4, and 1 more)", Some("5")),
        ("number", "Answer: (3 + 4) = 7", Some("7")),
        ("number", "Answer: (7)", Some("7")),
        ("number", "Answer: 3 boxes * 4 = 12 pens = 12", Some("12")),
        ("number", "Answer: 9 - 4 = 5 apples", Some("5")),
        ("number", "**Answer: 1,234**\n\nStep 9 is not needed.", Some("1234")),
        ("number", "## Final answer\n\n**15** cookies in 2 jars", Some("15")),
        ("number", "I do not know the answer\nso 3 or 4", Some("4")),
        ("number", "Answer: 12 hours/day", Some("12")),
        ("number", "Answer: by 5/day", Some("5")),
        ("number", "Answer: 3:30 pm", Some("3")),
        ("number", "Answer: twelve", None),
        ("number", "In 2020 she was 30", Some("30")),
        ("number", "Answer: 1 234", Some("1")),
        ("number", "Answer: 1\u{a0}234\u{a0}567", Some("1234567")),
        // Fractions.
        ("number", "Answer: 1/2", Some("0.5")),
        ("number", "Answer: 6 / 4", Some("1.5")),
        ("number", "Answer: 2/3 of the cake", Some("2/3")),
        ("number", "Answer: 4/6", Some("2/3")),
        ("number", "Answer: 6/3", Some("2")),
        ("number", "Answer: -1/4", Some("-0.25")),
        ("number", "Answer: 1 1/2 cups", Some("1.5")),
        ("number", "Answer: 5/0", Some("5")),
        ("number", "due on 1/2/2020", Some("2020")),
        (
            "number",
            "Answer: 340282366920938463463374607431768211456/3",
            Some("340282366920938463463374607431768211456"),
        ),
        // LaTeX.
        ("number", r"Answer: $\boxed{72}$", Some("72")),
        ("number", r"Thus $x = \boxed{\frac{3}{4}}$ of 12", Some("0.75")),
        ("number", r"\boxed{-7}", Some("-7")),
        ("number", r"\boxed{\$1{,}234{,}567}", Some("1234567")),
        ("number", r"\boxed{1\,000 \text{ km}}", Some("1000")),
        ("number", r"Answer: \(3 \times 4 = 12\)", Some("12")),
        ("number", r"first \boxed{3}, then \boxed{x = 5}", Some("5")),
        ("number", r"\boxed{72", Some("72")),
        // Choices.
        ("choice", "C", Some("C")),
        ("choice", "(b)", Some("B")),
        ("choice", "b. It is cold", Some("B")),
        ("choice", "Answer: A good fit is D", Some("D")),
        ("choice", "Answer: A because it fits", Some("A")),
        ("choice", "Answer: a", Some("A")),
        ("choice", "Answer: (D) iron", Some("D")),
        ("choice", "Answer: The correct option is B, not C", Some("B")),
        ("choice", "I'm sure it is a dog", None),
        ("choice", "I believe B fits", Some("B")),
        ("choice", "B or C could be", Some("B")),
        ("choice", "Both B and C could be", None),
        ("choice", "A is wrong. The answer is D.", Some("D")),
        ("choice", "Answer: neither", None),
        ("choice", "(A)", Some("A")),
        ("choice", "A.", Some("A")),
        ("choice", "**A**", Some("A")),
        ("choice", "answer: c", Some("C")),
        ("choice", "Answer: (b) because of friction", Some("B")),
        ("choice", "the answer is (d).", Some("D")),
        ("choice", "The answer is a.", Some("A")),
        ("choice", "The answer is a dog", None),
        ("choice", "option b is right", Some("B")),
        ("choice", "I would pick D, since A and B are too hot", Some("D")),
        ("choice", "A is wrong, B is wrong. C is the correct answer.", Some("C")),
        ("choice", "Looking at A and B: B) seems the best", Some("B")),
        ("choice", "Answer: **(C) iron**", Some("C")),
        ("choice", "**Answer:** B\n\nA is a trap.", Some("B")),
        ("choice", "### Answer\nD", Some("D")),
        ("choice", r"Answer: $\boxed{\text{B}}$", Some("B")),
        ("choice", r"so \boxed{(C)} it is, not A", Some("C")),
        ("choice", "Answer:\n\nE) none of these", Some("E")),
        ("choice", "Answer: I", Some("I")),
        ("choice", "", None),
        // Patterns.
        ("regex:x=(\\d+)", "y=1, x=23", Some("23")),
        ("regex:[a-z]{3}", "Answer: 12 abc def", Some("abc")),
        ("regex:x=(\\d+)", "x=", None),
    ];
    for (extractor, response, expected) in cases {
        let found = Extractor::parse(extractor).unwrap().extract(response);
        assert_eq!(found.as_deref(), *expected, "{extractor} of {response:?}");
    }
}

#[test]
fn a_known_answer_is_read_the_same_way() {
    for (extractor, response, answer, correct) in [
        ("number", "Answer: 1,000", "#### 1000", true),
        ("number", "Answer: 12.0", "12", true),
        ("number", "Answer: 12", "13", false),
        ("number", "no idea", "13", false),
        ("choice", "Answer: b", "B", true),
        ("choice", "Answer: B", "(B) iron", true),
        ("exact", "stone\n", " stone", true),
        ("exact", "Stone", "stone", false),
    ] {
        let extractor = Extractor::parse(extractor).unwrap();
        assert_eq!(extractor.is_correct(response, answer), correct, "{extractor:?}: {response:?}, {answer:?}");
    }
}

#[test]
fn an_unusable_extractor_is_an_error() {
    assert!(Extractor::parse("regex:(").unwrap_err().message.contains("pattern"));
    assert!(Extractor::parse("letters").unwrap_err().message.contains("letters"));
}

#[test]
fn known_choices_may_be_given_by_their_text() {
    let metals = ["iron", "copper", "an iron nail", "wood"];
    let vitamins = ["Vitamin A", "Vitamin C", "Vitamin D", "none of these"];
    let numbers = ["12", "15", "18", "1.5"];
    let cases: &[(&[&str], &str, Option<&str>)] = &[
        (&metals, "Answer: copper", Some("B")),
        (&metals, "Answer: **Copper.**", Some("B")),
        (&metals, "Answer: It is copper, because it conducts", Some("B")),
        (&metals, "Answer: an iron nail", Some("C")),
        (&metals, "Answer: iron", Some("A")),
        (&metals, "I think that wood burns", Some("D")),
        (&metals, "wood or copper", None),
        (&metals, "Answer: B) copper", Some("B")),
        (&metals, "Answer: (d)", Some("D")),
        // The row has no choice E, so this letter names none.
        (&metals, "Answer: E", None),
        (&metals, "vitamin E is in wood", Some("D")),
        (&metals, "Answer: A copper wire", Some("B")),
        (&metals, "The best choice is C, because wood is soft", Some("C")),
        (&vitamins, "Answer: Vitamin C", Some("B")),
        (&vitamins, "Answer: B", Some("B")),
        (&vitamins, "Answer: C", Some("C")),
        (&numbers, "Answer: 15", Some("B")),
        (&numbers, "Answer: 1.5", Some("D")),
        (&numbers, "Answer: 150", None),
        (&numbers, "B", Some("B")),
    ];
    for (choices, response, expected) in cases {
        let choices: Vec<String> = choices.iter().map(|c| (*c).to_owned()).collect();
        let found = Extractor::Choice.extract_among(response, &choices);
        assert_eq!(found.as_deref(), *expected, "{response:?} of {choices:?}");
    }
    // The known answer is read the same way.
    let choices: Vec<String> = metals.iter().map(|c| (*c).to_owned()).collect();
    for answer in ["B", "b", "(B)", "copper", "Copper"] {
        assert_eq!(Extractor::Choice.known(answer, &choices), "B", "{answer}");
    }
}

#[test]
fn a_response_of_any_kind_is_read_without_a_panic() {
    let pieces = [
        "Answer:",
        "\\boxed{",
        "}",
        "{",
        "1/0",
        "٣",
        "½",
        "(",
        "\\frac{1}{0}",
        "é",
        "A",
        "=",
        "####",
        "1,",
        "\u{a0}",
        "/",
        "-",
        "**",
    ];
    let choices = ["é".to_owned(), "٣".to_owned()];
    for a in pieces {
        for b in pieces {
            for c in pieces {
                let text = [a, b, c].concat();
                for extractor in ["exact", "number", "choice", "regex:(.)"] {
                    let extractor = Extractor::parse(extractor).unwrap();
                    assert!(
                        extractor.extract_among(&text, &choices).is_none_or(|answer| answer.len() <= text.len() + 2)
                    );
                }
            }
        }
    }
}
