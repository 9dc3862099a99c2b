//! Theory and experiments through the program.

mod common;

use std::path::Path;

use common::{fail, idx, succeed, text};
use serde_json::Value;

/// A set of images of 28 x 28 pixels in ten classes: class k is bright in row 2 k.
fn write_images(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, count) in [("train", 96usize), ("t10k", 20)] {
        let pixel = |image: usize, pixel: usize| {
            let noise = (image * 7919 + pixel * 104_729) % 90;
            (noise + if pixel / 28 == 2 * (image % 10) { 150 } else { 0 }) as u8
        };
        let pixels: Vec<u8> = (0..count).flat_map(|image| (0..784).map(move |at| pixel(image, at))).collect();
        let labels: Vec<u8> = (0..count).map(|image| (image % 10) as u8).collect();
        let size = count as u32;
        std::fs::write(folder.join(format!("{name}-images-idx3-ubyte")), idx(&[size, 28, 28], &pixels)).unwrap();
        std::fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), idx(&[size], &labels)).unwrap();
    }
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&succeed(arguments)).unwrap()
}

#[test]
fn theory_prints_its_table_and_draws_its_picture() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("theory");
    let arguments = ["theory", "two-layer", "--steps", "300", "--samples", "20", "--filter", "4", "--out", text(&out)];
    let table = succeed(&arguments);
    assert!(table.contains("spurious minimum: loss") && table.contains("saddle at"), "{table}");
    let report = json(&[&arguments[..], &["--json"]].concat());
    for statement in report["statements"].as_array().unwrap() {
        let [formula, found] = ["formula", "found"].map(|key| statement[key].as_f64().unwrap());
        assert!((formula - found).abs() < 1e-7, "{statement}");
    }
    assert!(std::fs::read_to_string(out.join("two-layer.svg")).unwrap().starts_with("<svg"));
    // Four starts, three surrogates, expected and sampled, and a point for each of at most 400 steps.
    assert!(std::fs::read_to_string(out.join("two-layer.csv")).unwrap().lines().count() > 24 * 300);
    fail(&["theory", "two-layer", "--v-star", "0,0"], 2, &["--v-star"]);
    fail(&["theory", "two-layer", "--learning-rate", "0"], 2, &["--learning-rate"]);
    fail(&["theory", "two-layer", "--filter", "1"], 2, &["--filter"]);
}

#[test]
fn gradient_methods_are_tuned_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    write_images(&data);
    let methods = r#"methods=["straight_through","fogzo","adaptive","spsa@70"]"#;
    let mut arguments = vec!["experiment", "guidance", "--data", text(&data), "--out", text(&out), "--json"];
    let settings =
        ["steps=6", "batch_size=16", "learning_rates=[0.01,0.1]", "begin=[0,0.5]", "noise=[1]", "seeds=2", methods];
    settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
    let report = json(&arguments);
    let [last, _, tuning] = [0, 1, 2].map(|table| report["tables"][table]["rows"].as_array().unwrap());
    assert_eq!(last.len(), 4);
    // The same number of candidates for each method.
    assert_eq!(tuning.len(), 16);
    let column = |name: &str| {
        let header = report["tables"][0]["header"].as_array().unwrap();
        header.iter().position(|cell| cell == name).unwrap()
    };
    let cost = |row: usize| last[row][column("forward-equivalents")].as_str().unwrap().parse::<f64>().unwrap();
    assert_eq!(cost(0), 3.0);
    assert!(cost(1) > 3.0 && cost(3) >= 73.0);
    for file in ["guidance.json", "guidance-final.csv", "guidance-runs.csv", "guidance-tuning.csv"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    assert!(std::fs::read_to_string(out.join("guidance-curves.svg")).unwrap().contains("fogzo"));
    // Same seeds, same bytes, whatever the number of threads.
    let run = |threads: &str| {
        let output = common::hardgrad(&arguments).env("RAYON_NUM_THREADS", threads).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (report["tables"][1].clone(), report["tables"][2].clone())
    };
    assert_eq!(run("1"), run("3"));
}

#[test]
fn every_network_of_the_comparison_trains() {
    let folder = tempfile::tempdir().unwrap();
    write_images(folder.path());
    for network in ["two_bit_mlp", "two_bit_lenet", "binary_mlp", "two_bit_transformer"] {
        let network = format!("network={network}");
        let mut arguments = vec!["experiment", "guidance", "--data", text(folder.path()), "--json"];
        let methods = r#"methods=["straight_through","fogzo"]"#;
        let settings =
            [network.as_str(), "steps=6", "batch_size=8", "learning_rates=[0.01]", "begin=[0]", "seeds=1", methods];
        settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
        let report = json(&[&arguments[..], &["--set", "noise=[1]", "--set", "equal_time=true"]].concat());
        let steps = |row: usize| report["tables"][0]["rows"][row][6].as_str().unwrap().parse::<u64>().unwrap();
        assert_eq!(report["tables"][0]["header"][6], "steps");
        // How many steps fit into the same time is a matter of the machine.
        assert!(steps(0) == 6 && steps(1) >= 1, "{network}: {} and {} steps", steps(0), steps(1));
    }
}

#[test]
fn surrogates_alignment_and_probes_give_a_row_for_each_case() {
    let folder = tempfile::tempdir().unwrap();
    write_images(folder.path());
    let data = text(folder.path());
    let mut arguments = vec!["experiment", "surrogates", "--data", data, "--json"];
    let settings = ["float_epochs=1", "epochs=1", "instability_epochs=1", "batch_size=32", "bits=[2]"];
    settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
    let report = json(&arguments);
    assert_eq!(report["tables"][0]["rows"].as_array().unwrap().len(), 4);
    let mut arguments = vec!["experiment", "probes", "--data", data, "--json"];
    let settings = ["steps=[0,4]", "probes=3", "batch_size=16"];
    settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
    assert_eq!(json(&arguments)["tables"][0]["rows"].as_array().unwrap().len(), 2);
    let mut arguments = vec!["experiment", "alignment", "--data", data, "--json"];
    let settings = ["steps=2", "measurements=2", "images=64", "directions=8"];
    settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
    let report = json(&arguments);
    // Eight layers, twice.
    let rows = report["tables"][0]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 16);
    // The last layer's loss is smooth in its weights, and its gradient does not pass an activation.
    assert_eq!((&rows[7][3], &rows[7][4]), (&rows[7][4], &rows[7][5]));
    assert!(rows[7][3].as_str().unwrap().parse::<f64>().unwrap() > 0.3, "{}", rows[7]);
}

#[test]
fn what_cannot_be_is_refused_in_a_line() {
    let set = |experiment, setting, words: &[&str]| {
        fail(&["experiment", experiment, "--set", setting], 2, words);
    };
    fail(&["experiment", "guidence"], 2, &["guidence", "guidance"]);
    set("guidance", "network=resnet", &["network", "perceptron"]);
    set(
        "guidance",
        "networks=perceptron",
        &["unknown key networks", "did you mean network?", "experiment guidance --show"],
    );
    set("guidance", "steps=0", &["steps"]);
    set("guidance", "learning_rates=[-1]", &["learning_rates", "-1"]);
    set("guidance", "noise=[-1]", &["noise", "from 0 to 7960", "-1"]);
    set("guidance", "epsilon=[0]", &["epsilon", "above 0"]);
    set("guidance", "methods=[\"fogzo@0\"]", &["methods: fogzo@0", "directions"]);
    set("guidance", "steps=1", &["begin", "no step of 1"]);
    set("guidance", "methods=[\"fogzy\"]", &["fogzy", "fogzo"]);
    set("guidance", "optimizer=lion", &["optimizer"]);
    set("surrogates", "bits=[5]", &["bits", "5"]);
    set("alignment", "probe=0", &["probe"]);
    set("probes", "steps=[5,1]", &["steps"]);
    let folder = tempfile::tempdir().unwrap();
    common::write_data(folder.path(), 20, 8);
    fail(&["experiment", "guidance", "--data", text(folder.path())], 2, &["28 x 28"]);
    assert!(succeed(&["experiment"]).contains("alignment"));
    assert!(succeed(&["experiment", "guidance", "--show"]).contains("tuning_seeds"));
}
