//! The gradient microscope, comparisons, pictures and timings through the program.

mod common;

use common::{fail, succeed, text};
use hardgrad_lab::ESTIMATORS;
use hardgrad_lab::diagnose::operator_methods;
use serde_json::Value;

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&succeed(arguments)).unwrap()
}

#[test]
fn a_diagnosis_tells_biased_from_unbiased_and_writes_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let diagnosis = json(&[
        "diagnose",
        "--objective",
        "quadratic",
        "--methods",
        "straight_through,reinmax,disarm",
        "--temperatures",
        "1,2",
        "--variables",
        "5",
        "--samples",
        "20000",
        "--out",
        text(&out),
        "--json",
    ]);
    assert_eq!(diagnosis["reference"], "exact, all 32 choices");
    let rows = diagnosis["rows"].as_array().unwrap();
    // Two methods at two temperatures, one without.
    assert_eq!(rows.len(), 5);
    let row = |method: &str| rows.iter().find(|row| row["method"] == method).unwrap();
    let number = |value: &Value| value.as_f64().unwrap();
    assert!(number(&row("straight_through")["relative_bias"]["low"]) > 0.1);
    for method in ["reinmax", "disarm"] {
        assert!(number(&row(method)["relative_bias"]["low"]) < 0.05, "{method}: {}", row(method));
        assert!(number(&row(method)["cosine_of_mean"]["value"]) > 0.99);
    }
    let csv = std::fs::read_to_string(out.join("diagnose.csv")).unwrap();
    assert_eq!(csv.lines().count(), 6);
    assert!(std::fs::read_to_string(out.join("diagnose.svg")).unwrap().starts_with("<svg"));
    let written: Value = serde_json::from_slice(&std::fs::read(out.join("diagnose.json")).unwrap()).unwrap();
    assert_eq!(written, diagnosis);
}

#[test]
fn large_problems_have_a_sampled_reference_and_separable_ones_an_exact_one() {
    let sampled = json(&[
        "diagnose",
        "--objective",
        "quadratic",
        "--variables",
        "24",
        "--methods",
        "reinmax",
        "--samples",
        "2000",
        "--reference-samples",
        "200000",
        "--json",
    ]);
    assert_eq!(sampled["reference"], "leave-one-out score function, 200000 samples");
    // Unbiased on quadratics: the reference's own noise is taken off.
    let bias = &sampled["rows"][0]["relative_bias"];
    assert!(bias["low"].as_f64().unwrap() < 0.05 && bias["high"].as_f64().unwrap() < 0.3, "{sampled}");
    let exact =
        json(&["diagnose", "--objective", "polynomial:p=3", "--methods", "disarm", "--samples", "200", "--json"]);
    assert_eq!(exact["reference"], "exact, variable by variable");
    assert_eq!(exact["variables"], 128);
}

#[test]
fn unbiased_estimates_meet_every_kind_of_truth() {
    for (objective, variables) in [("linear", "3"), ("digits", "6"), ("rebar_toy:t=0.3", "1"), ("quadratic", "5")] {
        let diagnosis = json(&[
            "diagnose",
            "--objective",
            objective,
            "--variables",
            variables,
            "--methods",
            "disarm",
            "--samples",
            "200000",
            "--json",
        ]);
        let row = &diagnosis["rows"][0];
        assert!(row["relative_bias"]["low"].as_f64().unwrap() < 0.02, "{objective}: {row}");
        assert!(row["relative_bias"]["high"].as_f64().unwrap() < 0.1, "{objective}: {row}");
        assert!(row["cosine_of_mean"]["low"].as_f64().unwrap() > 0.99, "{objective}: {row}");
    }
}

#[test]
fn hard_operators_are_measured_against_the_smoothed_cost() {
    let diagnosis = json(&[
        "diagnose",
        "--objective",
        "linear",
        "--variables",
        "4",
        "--samples",
        "400",
        "--json",
        "--methods",
        "sign_clipped,sign_identity,fake_quant_clipped:bits=3",
    ]);
    let rows = diagnosis["rows"].as_array().unwrap();
    // On a linear cost the clipped surrogate is the exact derivative of the smoothed sign; the identity is not.
    assert!(rows[0]["relative_bias"]["value"].as_f64().unwrap() < 1e-3, "{}", rows[0]);
    assert!(rows[1]["relative_bias"]["value"].as_f64().unwrap() > 0.1, "{}", rows[1]);
    assert!(rows.iter().all(|row| row["variance"]["value"] == 0.0));
}

#[test]
fn every_hard_operator_can_be_measured() {
    let methods = operator_methods();
    let diagnosis = json(&[
        "diagnose",
        "--objective",
        "linear",
        "--variables",
        "3",
        "--samples",
        "80",
        "--json",
        "--methods",
        &methods.join(","),
    ]);
    let rows = diagnosis["rows"].as_array().unwrap();
    assert!(rows.iter().map(|row| row["method"].as_str().unwrap()).eq(methods.iter().map(String::as_str)));
    // A surrogate of its own has a gradient of its own.
    let cosine = |method: &str| {
        let row = rows.iter().find(|row| row["method"] == method).unwrap();
        row["cosine"]["value"].as_f64().unwrap()
    };
    assert_ne!(cosine("sign_arctan"), cosine("sign_ede"));
}

#[test]
fn a_comparison_reaches_the_floor_with_a_good_estimator_and_writes_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let arguments = [
        "compare",
        "--objective",
        "polynomial:p=2",
        "--variables",
        "16",
        "--estimators",
        "reinmax,straight_through",
        "--steps",
        "600",
        "--learning-rate",
        "0.02",
        "--seeds",
        "2",
        "--out",
        text(&out),
        "--json",
    ];
    let comparison = json(&arguments);
    assert!((comparison["floor"].as_f64().unwrap() - 0.2025).abs() < 1e-12);
    let above = |row: usize| comparison["rows"][row]["above_floor"].as_f64().unwrap();
    assert!(above(0) < 0.01 && above(1) > 0.1, "{comparison}");
    assert_eq!(comparison["rows"][0]["costs"].as_array().unwrap().len(), 2);
    for name in ["compare.csv", "compare.svg", "compare.json"] {
        assert!(out.join(name).is_file(), "{name}");
    }
    assert_eq!(json(&arguments), comparison);
}

#[test]
fn schedules_move_the_temperature() {
    let run = |extra: &[&str]| {
        let mut arguments = vec![
            "compare",
            "--objective",
            "digits",
            "--estimators",
            "gumbel_softmax_hard",
            "--steps",
            "60",
            "--seeds",
            "1",
            "--temperature",
            "2",
            "--json",
        ];
        arguments.extend(extra);
        json(&arguments)["rows"][0]["mean"].as_f64().unwrap()
    };
    let costs = [
        run(&[]),
        run(&["--schedule", "linear", "--temperature-end", "0.2"]),
        run(&["--schedule", "exponential", "--temperature-end", "0.2"]),
        run(&["--schedule", "cosine", "--temperature-end", "0.2"]),
    ];
    assert!(costs.iter().all(|cost| cost.is_finite() && *cost < 2.5), "{costs:?}");
    assert!((1..4).all(|index| costs[index] != costs[0]));
}

#[test]
fn lists_pictures_and_timings() {
    let list = succeed(&["estimators"]);
    let words = ["gumbel_rao", "polynomial"].map(str::to_string).into_iter().chain(operator_methods());
    words.for_each(|word| assert!(list.contains(&word), "{word} is not in: {list}"));
    let estimators = json(&["estimators", "--json"]);
    assert_eq!(estimators["estimators"].as_array().unwrap().len(), ESTIMATORS.len());
    assert_eq!(estimators["operators"], serde_json::json!(operator_methods()));

    let folder = tempfile::tempdir().unwrap();
    let plots = folder.path().join("plots");
    succeed(&["plots", "--out", text(&plots)]);
    let pictures: Vec<String> =
        plots.read_dir().unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    assert!(pictures.len() >= 20 && pictures.iter().all(|svg| svg.starts_with("<svg") && !svg.contains("NaN")));
    for name in operator_methods() {
        assert!(plots.join(format!("{name}.svg")).is_file(), "{name}");
    }

    assert!(succeed(&["bench", "--list"]).lines().any(|line| line == "op/fake_quant_1m"));
    let timings = json(&["bench", "--only", "op/fsq_6272x4_8555", "--json", "-"]);
    let result = &timings["results"][0];
    assert_eq!(result["name"], "op/fsq_6272x4_8555");
    assert!(result["iterations"].as_u64().unwrap() >= 10 && result["min_ms"].as_f64() <= result["median_ms"].as_f64());
    assert!(timings["threads"].as_u64().unwrap() >= 1 && timings["cpu"].is_string());
    assert_eq!(json(&["bench", "--only", "op/none", "--json", "-"])["results"], serde_json::json!([]));
    succeed(&["bench", "--only", "op/fsq_6272x4_8555", "--steps", "2"]);
}

#[test]
fn wrong_use_is_one_line_that_names_the_thing() {
    let cases: [(&[&str], &[&str]); 22] = [
        (&["diagnose", "--objective", "quadratc"], &["quadratc", "quadratic"]),
        (&["diagnose", "--objective", "polynomial:p=0"], &["polynomial", "p", "from 1"]),
        (&["diagnose", "--objective", "polynomial:q=2"], &["unknown setting q", "p"]),
        (&["diagnose", "--objective", "quadratic", "--methods", "reinmx"], &["reinmx", "reinmax"]),
        (&["diagnose", "--objective", "quadratic", "--methods", "gumbel_rao:samples=x"], &["samples", "whole number"]),
        (&["diagnose", "--objective", "quadratic", "--temperatures", "0"], &["--temperatures", "above 0"]),
        (
            &["diagnose", "--objective", "quadratic", "--methods", "reinmax", "--temperatures", "0.5"],
            &["reinmax", "at least 1"],
        ),
        (&["diagnose", "--objective", "quadratic", "--methods", "arm", "--categories", "3"], &["arm", "2 categories"]),
        (&["diagnose", "--objective", "quadratic", "--samples", "3"], &["--samples", "at least 80"]),
        (&["diagnose", "--objective", "quadratic", "--variables", "0"], &["--variables"]),
        (
            &["diagnose", "--objective", "quadratic", "--methods", "sign_tanh", "--variables", "40"],
            &["at most 12 variables"],
        ),
        (&["diagnose", "--objective", "quadratic", "--methods", "sign_tanh,reinmax"], &["reinmax", "together"]),
        (
            &["diagnose", "--objective", "linear", "--variables", "65536", "--categories", "4096"],
            &["--variables", "16384"],
        ),
        (&["diagnose", "--objective", "linear", "--categories", "1"], &["--categories", "from 2"]),
        (&["diagnose", "--objective", "linear", "--methods", "sign_ede:t=1e300"], &["sign_ede", "t must be above 0"]),
        (&["diagnose", "--objective", "linear", "--methods", "decoupled:forward_temperature=1e-300"], &["above 0"]),
        (
            &["compare", "--objective", "digits", "--batch-size", "1048576", "--variables", "512"],
            &["--batch-size", "at most"],
        ),
        (
            &["compare", "--objective", "linear", "--estimators", "reinmax", "--temperature", "0.1"],
            &["reinmax", "at least 1"],
        ),
        (&["compare", "--objective", "quadratic", "--temperature-end", "2"], &["--schedule", "belong together"]),
        (&["diagnose", "--objective", "linear", "--samples", "99999999999999"], &["--samples", "at most"]),
        (&["compare", "--objective", "quadratic", "--steps", "0"], &["--steps", "at least 1"]),
        (&["compare", "--objective", "quadratic", "--learning-rate", "0"], &["--learning-rate", "above 0"]),
    ];
    for (arguments, words) in cases {
        fail(arguments, 2, words);
    }
    let diverging =
        ["compare", "--objective", "polynomial", "--variables", "2", "--steps", "1", "--learning-rate", "1e300"];
    fail(&diverging, 2, &["not finite", "--learning-rate"]);
    fail(&["bench", "--only", "op/none", "--steps", "3"], 2, &["op/none", "--list"]);
    for arguments in [&["bench", "--only", "op/none"][..], &["bench", "--only", "op/none", "--list"]] {
        let output = common::hardgrad(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && stderr.contains("no workload is called op/none"), "{stderr}");
    }
    // A folder that was made for results goes again where there are none.
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    fail(&["diagnose", "--objective", "quadratc", "--out", text(&out)], 2, &["quadratc"]);
    assert!(!out.exists());
}
