use super::*;

const FIXTURE: &str = include_str!("../../../../tests/fixtures/report/statistics.json");

fn fixture() -> serde_json::Value {
    serde_json::from_str(FIXTURE).unwrap()
}

fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn close(found: f64, expected: f64, tolerance: f64) -> bool {
    (found - expected).abs() <= tolerance * expected.abs().max(1e-3)
}

#[test]
fn intervals_and_tests_agree_with_scipy() {
    let fixture = fixture();
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() >= 5);
    for case in cases {
        let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
        let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        let t = t_interval(&differences).unwrap();
        let expected = numbers(&case["t"]);
        // The t interval of two values reaches far: its tail is as good as the library's.
        assert!(close(t.low, expected[0], 1e-6) && close(t.high, expected[1], 1e-6), "{t:?}: {case}");
        let p = t_test(&differences).unwrap();
        assert!(close(p, case["p"].as_f64().unwrap(), 1e-8), "{p}: {case}");
        let found = bootstrap_interval(&differences);
        match case.get("bca") {
            None => assert_eq!(found, None, "{case}"),
            Some(expected) => {
                let (found, expected) = (found.unwrap(), numbers(expected));
                // Resampling noise: a few percent of the width.
                let tolerance = 0.06 * (expected[1] - expected[0]);
                let off = (found.low - expected[0]).abs().max((found.high - expected[1]).abs());
                assert!(off <= tolerance, "{found:?}: {case}");
            }
        }
    }
}

#[test]
fn holm_agrees_with_its_definition() {
    let fixture = fixture();
    for case in fixture["holm"].as_array().unwrap() {
        let p: Vec<Option<f64>> = numbers(&case["p"]).into_iter().map(Some).collect();
        let found: Vec<f64> = holm(&p).into_iter().flatten().collect();
        for (found, expected) in found.iter().zip(numbers(&case["adjusted"])) {
            assert!(close(*found, expected, 1e-12), "{case}");
        }
    }
    // What gave no p-value is not counted.
    assert_eq!(holm(&[Some(0.02), None, Some(0.5)]), [Some(0.04), None, Some(0.5)]);
    assert_eq!(holm(&[]), []);
}

#[test]
fn few_or_equal_values_say_what_they_can() {
    let interval = |low, high| Some(Interval { low, high });
    /// Values, mean, t interval, p, bootstrap.
    type Case = (Vec<f64>, Option<f64>, Option<Interval>, Option<f64>, Option<Interval>);
    let cases: Vec<Case> = vec![
        (vec![], None, None, None, None),
        (vec![0.7], Some(0.7), None, None, None),
        (vec![0.0, 0.0], Some(0.0), interval(0.0, 0.0), Some(1.0), None),
        (vec![0.5, 0.5, 0.5], Some(0.5), interval(0.5, 0.5), None, interval(0.5, 0.5)),
    ];
    for (values, center, t, p, bootstrap) in cases {
        assert_eq!(mean(&values), center, "{values:?}");
        assert_eq!(t_interval(&values), t, "{values:?}");
        assert_eq!(t_test(&values), p, "{values:?}");
        assert_eq!(bootstrap_interval(&values), bootstrap, "{values:?}");
    }
    // The same values give the same interval, in any order of magnitude.
    let values = [1e-9, 2e-9, 4e-9];
    let (a, b) = (bootstrap_interval(&values).unwrap(), bootstrap_interval(&values).unwrap());
    assert_eq!(a, b);
    assert!(a.low > 0.9e-9 && a.high <= 4e-9, "{a:?}");
}
