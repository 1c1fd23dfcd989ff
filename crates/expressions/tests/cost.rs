//! No text and no claims make it run long, use much, or end the process.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokensmith_expressions::{Budget, EvaluationError, Expression, TooLarge, Variables};

/// As many claims as a token of the longest kind has room for.
fn large() -> Value {
    let groups: Vec<String> = (0..1500).map(|n| format!("g{n:05}")).collect();
    json!({"sub": "a".repeat(4000), "groups": groups, "one": "x"})
}

/// On a stack as small as a worker's, within a time that only what has no bound exceeds.
fn evaluate(text: String, claims: Value) -> Result<Value, EvaluationError> {
    let (tell, told) = mpsc::channel();
    let worker = thread::Builder::new().stack_size(1 << 20);
    worker
        .spawn(move || {
            let expression = Expression::compile(&text, &["c"]).unwrap();
            let mut variables = Variables::new();
            variables.insert("c", &claims).unwrap();
            let _ = tell.send(expression.evaluate(&variables));
        })
        .unwrap();
    told.recv_timeout(Duration::from_secs(30)).expect("it ends")
}

#[test]
fn claims_of_any_size_are_searched_and_no_more_than_that() {
    assert_eq!(evaluate("c.groups.exists(g, g == 'g01499')".into(), large()), Ok(json!(true)));
    assert_eq!(evaluate("c.groups.filter(g, g.endsWith('7')).size()".into(), large()), Ok(json!(150)));
    assert_eq!(
        evaluate("c.groups.map(g, g.upperAscii()).join(',').size()".into(), large()),
        Ok(json!(10_499))
    );
    assert_eq!(evaluate("'g00001' in c.groups".into(), large()), Ok(json!(true)));
}

#[test]
fn what_would_grow_without_bound_is_refused() {
    let doubling = |step: &str, times: usize| format!("['x'].map(x, x + x){}", step.repeat(times));
    for text in [
        "c.groups.exists(a, c.groups.exists(b, a == b + 'x'))".to_owned(),
        "c.groups.map(a, c.groups.map(b, a + b)).size() > 0".to_owned(),
        "c.groups.all(a, c.groups.all(b, c.groups.all(d, a != b || b != d || a == d)))".to_owned(),
        "c.groups.exists_one(a, c.groups.exists_one(b, a == b))".to_owned(),
        "c.groups.filter(a, c.groups.filter(b, b == a).size() == 2)".to_owned(),
        // 2^25 of them.
        doubling(".map(x, x + x)", 25),
        doubling(".map(x, [x, x])", 25),
        doubling(".map(x, x.replace('x', 'xx'))", 25),
        format!("[[1]]{}", ".map(x, x + x)".repeat(25)),
        format!("[{{'a': 1}}]{}", ".map(x, {'a': x, 'b': x})".repeat(25)),
        // The product of two sizes.
        "c.sub.replace('a', c.sub)".to_owned(),
        "c.sub.replace('', c.sub)".to_owned(),
        "c.groups.join(c.sub)".to_owned(),
        "c.groups.map(g, c.sub).size() == 1".to_owned(),
        "c.groups.map(g, c).size() == 1".to_owned(),
        "c.groups.exists(g, c.sub == c.sub + g)".to_owned(),
        "c.groups.exists(g, c.sub.contains(g))".to_owned(),
        "c.groups.exists(g, c.sub.split('').size() == 1)".to_owned(),
        // A stranger's patterns.
        "c.groups.exists(g, c.one.matches(g))".to_owned(),
        // Hidden by an operator that takes errors.
        "c.groups.exists(a, c.groups.exists(b, a == b + 'x')) || true".to_owned(),
    ] {
        assert_eq!(evaluate(text.clone(), large()), Err(EvaluationError::TooCostly), "{text}");
    }
    // Not by what it costs, but by what it comes to.
    assert_eq!(
        evaluate("c.sub + c.sub + c.sub + c.sub + c.sub".into(), large()),
        Err(EvaluationError::TooLarge)
    );
    assert_eq!(evaluate("[c, c]".into(), large()), Err(EvaluationError::TooLarge));
}

#[test]
fn a_regular_expression_takes_linear_time_and_a_bounded_room() {
    let hard = json!({"s": "a".repeat(12_000)});
    for pattern in ["(a+)+b", "(a|a)*b", "(a*)*b", ".*.*.*.*b"] {
        assert_eq!(
            evaluate(format!("c.s.matches('{pattern}')"), hard.clone()),
            Ok(json!(false)),
            "{pattern}"
        );
    }
    let big = json!({"s": "a", "p": "(\\w{100}){100}", "deep": "(".repeat(5000)});
    for text in ["c.s.matches(c.p)", "c.s.matches(c.deep)"] {
        assert!(matches!(evaluate(text.into(), big.clone()), Err(EvaluationError::Failed(_))), "{text}");
    }
}

#[test]
fn texts_that_are_too_long_or_too_deep_are_refused() {
    for (text, why) in [
        ("1".repeat(4097), "it has 4097 bytes"),
        (format!("c{}", ".a".repeat(200)), "it is nested deeper than 64"),
        (format!("c{}", "[0]".repeat(200)), "it is nested deeper than 64"),
        (format!("c{}", " + c".repeat(200)), "it is nested deeper than 64"),
        (format!("{}c", "-".repeat(201)), ""),
        (format!("{}c", "!".repeat(201)), ""),
        (format!("{}1{}", "(".repeat(500), ")".repeat(500)), ""),
        (format!("{}1{}", "[".repeat(500), "]".repeat(500)), ""),
        (format!("{}1{}", "{'a':".repeat(500), "}".repeat(500)), ""),
        (format!("{}1", "c ? c : ".repeat(400)), ""),
        (format!("{}1{}", "[1].map(x, ".repeat(70), ")".repeat(70)), ""),
        ("(".repeat(4096), ""),
        ("[".repeat(4096), ""),
        ("{".repeat(4096), ""),
        ("c.".repeat(2048), ""),
        ("c?".repeat(2048), ""),
        ("'".repeat(4096), ""),
    ] {
        match Expression::compile(&text, &["c"]) {
            Err(error) => assert!(error.message.contains(why), "{}: {error}", &text[..20]),
            // Signs cancel each other out.
            Ok(_) => assert!(why.is_empty(), "{}", &text[..20]),
        }
    }
    // What is wide costs no depth.
    let wide = format!("c == 0{}", " || c == 1".repeat(300));
    assert_eq!(evaluate(wide, json!(7)), Ok(json!(false)));
    let list = format!("c in [{}]", "'a',".repeat(900));
    assert_eq!(evaluate(list, json!("b")), Ok(json!(false)));
}

#[test]
fn claims_that_no_token_has_are_not_taken() {
    let long = json!("a".repeat(65 << 10));
    assert_eq!(Variables::new().insert("c", &long), Err(TooLarge));
    let many = json!(vec![0; 20_000]);
    assert_eq!(Variables::new().insert("c", &many), Err(TooLarge));
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(Variables::new().insert("c", &deep), Err(TooLarge));
}

/// A text that is often nearly an expression.
fn texts() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "c",
        "c.a",
        ".a",
        "x",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "?",
        "+",
        "-",
        "*",
        "/",
        "%",
        "==",
        "!=",
        "<",
        ">=",
        "&&",
        "||",
        "!",
        " in ",
        "1",
        "1.5",
        "2u",
        "'s'",
        "b'b'",
        "\"",
        "'",
        "null",
        "true",
        "has(c.a)",
        ".map(x, ",
        ".filter(x, ",
        ".exists(x, ",
        ".all(x, ",
        ".exists_one(x, ",
        "size(",
        ".size()",
        ".split('')",
        ".join()",
        ".matches('(a|b)*')",
        ".extract('{x}')",
        ".replace('a', ",
        ".substring(1)",
        ".charAt(",
        "int(",
        "string(",
        "type(",
        "dyn(",
        "double(",
        "9223372036854775807",
        "-9223372036854775808",
        "0x",
        "1e999",
        "\\",
        "\u{e4}",
        "\n",
        "//",
        "@",
        "`a`",
        ".?a",
        "Msg{a: 1}",
        "..",
        "r'\\'",
    ]);
    prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

/// What one takes the next ones lack; and what was cut off leaves nothing to any.
#[test]
fn evaluations_that_share_a_budget_are_bounded_together() {
    let claims = large();
    let search = Expression::compile("c.groups.exists(g, g == 'none')", &["c"]).unwrap();
    let count = |steps: u64| {
        let budget = Budget::new(steps);
        let mut variables = Variables::within(&budget);
        variables.insert("c", &claims).unwrap();
        let done = (0..100).take_while(|_| search.evaluate(&variables).is_ok()).count();
        let cheap = Expression::compile("true", &[]).unwrap().evaluate(&variables);
        assert_eq!((budget.is_exhausted(), cheap.is_err()), (done < 100, done < 100));
        done
    };
    let one = (1..).map(|k| k * 1000).find(|steps| count(*steps) > 0).unwrap();
    assert!((2..=3).contains(&count(one * 2)), "{one}");
    assert_eq!(count(Expression::BUDGET * 1000), 100);
    // One that is too long by itself counts, however much there is.
    let budget = Budget::new(Expression::BUDGET * 10);
    let mut variables = Variables::within(&budget);
    variables.insert("c", &claims).unwrap();
    let text = "c.groups.exists(a, c.groups.exists(b, a == b + 'x')) || true";
    let long = Expression::compile(text, &["c"]).unwrap();
    assert_eq!(long.evaluate(&variables), Err(EvaluationError::TooCostly));
    assert!(budget.is_exhausted());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn nothing_that_is_written_ends_the_process(text in texts()) {
        let claims = json!({"a": [1, "s", 2.5, null, {"a": "b"}], "b": "ä"});
        let mut variables = Variables::new();
        variables.insert("c", &claims).unwrap();
        if let Ok(expression) = Expression::compile(&text, &["c"]) {
            let first = expression.evaluate(&variables);
            prop_assert_eq!(first, expression.evaluate(&variables));
        }
    }

    #[test]
    fn nothing_that_is_written_at_all_ends_the_process(text in "\\PC{0,60}") {
        let _ = Expression::compile(&text, &["c"]);
    }
}
