//! Training from end to end: the run folder, determinism, resuming after a kill.

mod common;

use std::path::{Path, PathBuf};

use common::{SMALL, hardgrad, succeed, text, tiny_run, write_data};
use hardgrad_lab::data::{Request, load, write_png};
use serde_json::Value;

fn train(data: &Path, run: &Path, threads: &str) {
    let mut arguments = vec!["train", "qat", "--data", text(data), "--out", text(run), "--seed", "3"];
    arguments.extend(SMALL);
    let output = hardgrad(&arguments).env("RAYON_NUM_THREADS", threads).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn models(run: &Path) -> [Vec<u8>; 4] {
    ["float.safetensors", "model.safetensors", "model.packed.safetensors", "metrics.csv"]
        .map(|name| std::fs::read(run.join(name)).unwrap())
}

#[test]
fn a_run_folder_holds_all_its_files_and_every_verb_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let run = tiny_run(folder.path());
    for name in
        ["config.toml", "metrics.csv", "summary.json", "curve.svg", "model.safetensors", "model.packed.safetensors"]
    {
        assert!(run.join(name).is_file(), "{name}");
    }
    assert!(run.join("checkpoints").read_dir().unwrap().count() <= 2);
    let summary: Value = serde_json::from_slice(&std::fs::read(run.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["verified"], serde_json::json!([40, 40]));
    assert!(summary["rows"][2]["accuracy"].as_f64().unwrap() > 0.9, "{summary}");

    let evaluation: Value = serde_json::from_str(&succeed(&["eval", text(&run), "--json"])).unwrap();
    assert_eq!(evaluation["accuracy"], summary["rows"][2]["accuracy"]);

    let packed = folder.path().join("packed.safetensors");
    let report = succeed(&["export", text(&run), "--out", text(&packed)]);
    assert!(report.contains("verified: 40 of 40 outputs identical"), "{report}");
    assert_eq!(std::fs::read(&packed).unwrap(), std::fs::read(run.join("model.packed.safetensors")).unwrap());

    let by_run: Value = serde_json::from_str(&succeed(&["inspect", text(&run), "--json"])).unwrap();
    let by_file: Value = serde_json::from_str(&succeed(&["inspect", text(&packed), "--json"])).unwrap();
    assert_eq!((&by_run["nodes"], &by_run["bytes"]), (&by_file["nodes"], &by_file["bytes"]));
    assert_eq!(by_run["training"]["rules"][0]["weight_bits"], 2);
    assert_eq!(by_file["bytes"].as_u64().unwrap(), packed.metadata().unwrap().len());
    let table = succeed(&["inspect", text(&packed)]);
    assert!(table.contains("conv1") && table.contains("integer") && table.contains("compression"), "{table}");

    let data = folder.path().join("data");
    let png = folder.path().join("six.png");
    let held_out = load(&Request::of(Some(&data)), &mut |_| ()).unwrap().test;
    write_png(&png, &held_out.shape, held_out.image(6)).unwrap();
    let idx = format!("{}:6", text(&data.join("t10k-images-idx3-ubyte")));
    let predictions: Value = serde_json::from_str(&succeed(&[
        "predict",
        text(&packed),
        "--top",
        "4",
        "6",
        &idx,
        text(&png),
        "--data",
        text(&data),
        "--json",
    ]))
    .unwrap();
    assert_eq!(predictions[0]["classes"], predictions[1]["classes"]);
    assert_eq!(predictions[0]["classes"], predictions[2]["classes"]);
    let total: f64 = predictions[0]["classes"].as_array().unwrap().iter().map(|class| class[1].as_f64().unwrap()).sum();
    assert!((total - 1.0).abs() < 1e-5);
}

#[test]
fn one_seed_gives_the_same_bytes_for_any_number_of_threads_and_twice() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_data(&data, 96, 40);
    let runs = [("a", "1"), ("b", "2"), ("c", "2")].map(|(name, threads)| {
        let run = folder.path().join(name);
        train(&data, &run, threads);
        models(&run)
    });
    assert!(runs[0] == runs[1] && runs[1] == runs[2]);
}

#[test]
fn measurements_are_written_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_data(&data, 96, 40);
    let run = |name: &str, every: &str| {
        let run = folder.path().join(name);
        let every = format!("diagnose.every={every}");
        let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&run), "--seed", "3"];
        arguments.extend(SMALL);
        arguments.extend(["--set", &every]);
        succeed(&arguments);
        models(&run)
    };
    let (with, without) = (run("with", "5"), run("without", "0"));
    assert!(with[..3] == without[..3], "measuring changed a model");
    let (with, without) = (String::from_utf8(with[3].clone()).unwrap(), String::from_utf8(without[3].clone()).unwrap());
    let mut lines = with.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert!(header.ends_with(&[
        "flip_rate",
        "oscillation",
        "saturated_weights",
        "saturated_activations",
        "code_entropy",
        "zeroth_order_cosine"
    ]));
    assert!(!without.contains("flip_rate"));
    let measured: Vec<Vec<f64>> = lines
        .map(|line| line.split(',').collect::<Vec<_>>())
        .filter(|cells| cells[4].is_empty())
        .map(|cells| {
            assert_eq!((cells[0], cells.len()), ("quantized", header.len()));
            cells[10..].iter().map(|cell| cell.parse().unwrap()).collect()
        })
        .collect();
    // A step without guidance counts 3, one with a direction 5; the last epoch is guided, the first one of the stage partly.
    let cost = |line: &str| -> f64 { line.split(',').nth(8).unwrap().parse().unwrap() };
    assert_eq!(header[8..10], ["forward_equivalents", "skipped_directions"]);
    assert!(without.lines().filter(|line| line.starts_with("float")).all(|line| cost(line) == 3.0));
    let costs: Vec<f64> = without.lines().filter(|line| line.starts_with("quantized")).map(cost).collect();
    assert!(costs[0] >= 3.0 && costs[0] < 5.0 && costs[costs.len() - 1] == 5.0, "{costs:?}");
    let epochs = without.lines().filter(|line| line.starts_with("quantized")).count();
    assert!(epochs > 0 && measured.len() >= 2, "{with}");
    for row in &measured {
        let [flips, oscillation, weights, activations, entropy, cosine] = row[..] else { panic!("{row:?}") };
        assert!(oscillation <= flips && (0.0..=1.0).contains(&flips), "{row:?}");
        assert!((0.0..=1.0).contains(&weights) && (0.0..=1.0).contains(&activations), "{row:?}");
        assert!(entropy > 0.0 && entropy <= 8.0 && (-1.0..=1.0).contains(&cosine), "{row:?}");
    }
    assert!(measured.iter().any(|row| row[0] > 0.0), "no code ever flipped");
}

/// Steps of the newest checkpoint of a run, counted over both stages.
fn newest_checkpoint(run: &Path) -> Option<u64> {
    let step = |name: String| -> Option<u64> {
        let step: u64 = name.strip_suffix(".safetensors")?.rsplit('-').next()?.parse().ok()?;
        match name.as_bytes()[0] {
            b'0' => Some(step),
            b'1' => Some(FLOAT_STEPS + step),
            _ => None,
        }
    };
    let entries = run.join("checkpoints").read_dir().ok()?;
    entries.flatten().filter_map(|entry| step(entry.file_name().into_string().ok()?)).max()
}

/// Whether a process left a file in the checkpoints that it was writing.
fn has_partial_file(run: &Path) -> bool {
    let mut entries = run.join("checkpoints").read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    entries.any(|name| name.to_str().unwrap().ends_with(".partial"))
}

/// Goes on with a run that was stopped, to the same bytes as one that was not.
fn resume(run: &Path, expected: &[Vec<u8>; 4]) {
    let found = newest_checkpoint(run);
    let output = hardgrad(&["train", "--resume", text(run)]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(models(run) == *expected, "stopped after step {found:?}");
    assert!(!stderr.contains("not a whole"), "{stderr}");
    assert_eq!(stderr.contains("going on from step"), found.is_some(), "{stderr}");
    assert!(!has_partial_file(run), "a temporary file is left");
}

/// Steps of the float stage with 96 images and the small settings.
const FLOAT_STEPS: u64 = 24;

/// Data, a run on it that nothing disturbed, and what came of that.
fn undisturbed(folder: &Path) -> (PathBuf, PathBuf, [Vec<u8>; 4]) {
    let (data, run) = (folder.join("data"), folder.join("undisturbed"));
    write_data(&data, 96, 40);
    train(&data, &run, "2");
    let expected = models(&run);
    (data, run, expected)
}

#[test]
fn a_killed_run_resumes_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (data, _, expected) = undisturbed(folder.path());
    // A checkpoint is written after every step.
    for after in [0, 4, 13, 23, 24, 25, 33] {
        let run = folder.path().join(format!("killed-{after}"));
        let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&run), "--seed", "3", "--force"];
        arguments.extend(SMALL);
        loop {
            let quiet = std::process::Stdio::null;
            let mut child = hardgrad(&arguments).stderr(quiet()).stdout(quiet()).spawn().unwrap();
            let due = || run.join("config.toml").is_file() && newest_checkpoint(&run).unwrap_or(0) >= after;
            while !due() && child.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            let _ = child.kill();
            // The test was too slow where the program came to its end; another try will not be.
            if !child.wait().unwrap().success() {
                break;
            }
        }
        resume(&run, &expected);
    }
}

#[cfg(unix)]
#[test]
fn a_run_killed_while_it_writes_a_checkpoint_resumes_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (data, undisturbed, expected) = undisturbed(folder.path());
    // The system kills a process that writes beyond the limit on the size of files: a checkpoint has more than 8 KiB.
    let kill_while_writing = |arguments: &[&str]| {
        let output = std::process::Command::new("bash")
            .args(["-c", "ulimit -c 0; ulimit -f 8; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_hardgrad")])
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), None, "{}", String::from_utf8_lossy(&output.stderr));
    };
    let run = folder.path().join("run");
    let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&run), "--seed", "3"];
    arguments.extend(SMALL);
    kill_while_writing(&arguments);
    assert!(has_partial_file(&run) && newest_checkpoint(&run).is_none());
    // Killed again when it goes on, beside a checkpoint that is whole.
    let first = undisturbed.join("checkpoints").read_dir().unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    std::fs::copy(&first, run.join("checkpoints").join(first.file_name().unwrap())).unwrap();
    std::fs::copy(undisturbed.join("float.safetensors"), run.join("float.safetensors")).unwrap();
    let before = newest_checkpoint(&run);
    kill_while_writing(&["train", "--resume", text(&run)]);
    assert!(has_partial_file(&run) && newest_checkpoint(&run) == before);
    resume(&run, &expected);
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_a_finished_run_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let run = tiny_run(folder.path());
    let expected = models(&run);
    let mut checkpoints: Vec<_> =
        run.join("checkpoints").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    checkpoints.sort();
    let newest = checkpoints.last().unwrap();
    let bytes = std::fs::read(newest).unwrap();
    std::fs::write(newest, &bytes[..bytes.len() / 2]).unwrap();
    let output = hardgrad(&["train", "--resume", text(&run)]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.contains("not a whole checkpoint") && stderr.contains("going on from step 14 of the quantized"),
        "{stderr}"
    );
    assert!(models(&run) == expected);
    // Nothing is left to train: no epoch is run again.
    let output = hardgrad(&["train", "--resume", text(&run)]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stderr.contains("going on from step 15") && !stderr.contains("epoch"),
        "{stderr}"
    );
    assert!(models(&run) == expected);
    // Other settings would not continue this run.
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    std::fs::write(run.join("config.toml"), config.replace("weight_bits = 2", "weight_bits = 3")).unwrap();
    common::fail(&["train", "--resume", text(&run)], 2, &["quantization.weight_bits differs from the checkpoint"]);
}

#[test]
fn every_range_method_trains_and_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_data(&data, 64, 24);
    for (index, changes) in [
        &[
            "quantization.weight_range=min_max",
            "quantization.activation_range=moving_average",
            "quantization.zero_point=true",
        ][..],
        &["quantization.weight_range=dorefa", "quantization.activation_range=dorefa", "quantization.per_channel=false"],
        &["quantization.weight_range=lsq", "quantization.activation_range=pact", "quantization.delay=5"],
        &["quantization.weight_bits=8", "quantization.activation_bits=8", "quantization.weight_range=min_max"],
        // One bit is a sign for every range method of weights that takes it.
        &["quantization.weight_bits=1", "quantization.weight_range=min_max"],
        &["quantization.weight_bits=1", "quantization.weight_range=fixed", "quantization.per_channel=false"],
        &["quantization.weight_bits=1", "quantization.weight_range=dorefa", "quantization.per_channel=false"],
    ]
    .into_iter()
    .enumerate()
    {
        let run = folder.path().join(index.to_string());
        let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&run)];
        arguments.extend(SMALL);
        changes.iter().for_each(|change| arguments.extend(["--set", change]));
        let table = succeed(&arguments);
        assert!(table.contains("verified: 24 of 24 outputs identical"), "{changes:?}: {table}");
        let summary: Value = serde_json::from_slice(&std::fs::read(run.join("summary.json")).unwrap()).unwrap();
        // Four classes: a network that learned nothing has a quarter.
        assert!(summary["rows"][2]["accuracy"].as_f64().unwrap() > 0.5, "{changes:?}: {table}");
    }
}

#[test]
fn one_bit_that_cannot_be_a_sign_is_refused() {
    let refused = |changes: &[&str], words: &[&str]| {
        let mut arguments = vec!["train", "qat", "--set", "quantization.weight_bits=1"];
        changes.iter().for_each(|change| arguments.extend(["--set", change]));
        common::fail(&arguments, 2, words);
    };
    refused(&[], &["lsq", "at least 2 bits"]);
    for range in ["min_max", "fixed"] {
        let range = format!("quantization.weight_range={range}");
        refused(&[&range, "quantization.zero_point=true"], &["quantization.weight_range", "zero_point"]);
    }
}

/// Quantised accuracy, and what training said, with learned steps at this rate.
fn learned_steps(folder: &Path, name: &str, changes: &[&str]) -> (f64, String) {
    let run = folder.join(name);
    let data = folder.join("data");
    let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&run), "--json"];
    arguments.extend(SMALL);
    arguments.extend(["--set", "model.conv_net.hidden=[64]", "--set", "gradient.method=straight_through"]);
    changes.iter().for_each(|change| arguments.extend(["--set", change]));
    let output = hardgrad(&arguments).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    (summary["rows"][2]["accuracy"].as_f64().unwrap(), stderr)
}

#[test]
fn learned_ranges_do_not_vanish_at_high_rates_and_are_reported_where_they_do() {
    let folder = tempfile::tempdir().unwrap();
    write_data(&folder.path().join("data"), 96, 40);
    let lost = "no quantised value reaches a tenth";
    let high = "training.quantized_learning_rate=0.05";
    let (frozen, _) = learned_steps(folder.path(), "frozen", &["training.range_rate_factor=0"]);
    for (name, range) in [("lsq", "lsq"), ("pact", "pact")] {
        let range = format!("quantization.activation_range={range}");
        let changes = [&range, "training.range_rate_factor=1", high];
        let (accuracy, said) = learned_steps(folder.path(), name, &changes);
        assert!(accuracy >= frozen - 0.1 && !said.contains(lost), "{name}: {accuracy}, frozen {frozen}: {said}");
    }
    // A rate that moves every step by factors of e^5 loses channels, and that is said.
    let (_, said) = learned_steps(folder.path(), "wild", &["training.range_rate_factor=100", high]);
    assert!(said.contains(lost) && said.contains("lower training.range_rate_factor"), "{said}");
}

#[test]
fn a_batch_is_no_larger_than_the_set() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (folder.path().join("data"), folder.path().join("run"));
    write_data(&data, 32, 8);
    let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&run)];
    arguments.extend(SMALL);
    // Of 65,536 images a layer would give four billion values.
    arguments.extend(["--set", "training.batch_size=65536", "--set", "model.conv_net.channels=[1024]"]);
    arguments.extend(["--set", "training.float_epochs=1", "--set", "training.quantized_epochs=2"]);
    assert!(succeed(&arguments).contains("verified: 8 of 8 outputs identical"));
}

#[test]
fn float_layers_train_and_say_why_they_are_not_packed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let run = folder.path().join("run");
    write_data(&data, 64, 24);
    let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&run)];
    arguments.extend(SMALL);
    arguments.extend(["--set", "quantization.activation_bits=32"]);
    let table = succeed(&arguments);
    assert!(table.contains("not packed: conv2: its weight is quantised, but its input, relu1, is float"), "{table}");
    common::fail(&["export", text(&run), "--out", text(&folder.path().join("x"))], 1, &["conv2"]);
    assert!(!folder.path().join("x").exists());
}

#[test]
fn images_and_networks_of_unusual_sizes() {
    let folder = tempfile::tempdir().unwrap();
    for (index, (height, width, channels, hidden, count)) in
        [(1, 1, "[3]", "[4]", 6), (5, 3, "[2, 3, 4]", "[]", 9), (4, 7, "[]", "[5]", 3), (2, 2, "[]", "[]", 4)]
            .into_iter()
            .enumerate()
    {
        let data = folder.path().join(format!("data-{index}"));
        std::fs::create_dir(&data).unwrap();
        for part in ["train", "t10k"] {
            let pixels: Vec<u8> = (0..count * height * width).map(|i| (i * 37 % 251) as u8).collect();
            let labels: Vec<u8> = (0..count).map(|i| (i % 2) as u8).collect();
            let write = |name: &str, dims: &[u32], values: &[u8]| {
                std::fs::write(data.join(format!("{part}-{name}-ubyte")), common::idx(dims, values)).unwrap();
            };
            write("images-idx3", &[count as u32, height as u32, width as u32], &pixels);
            write("labels-idx1", &[count as u32], &labels);
        }
        let run = folder.path().join(format!("run-{index}"));
        let (channels, hidden) =
            (format!("model.conv_net.channels={channels}"), format!("model.conv_net.hidden={hidden}"));
        let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&run)];
        arguments.extend(SMALL);
        arguments.extend(["--set", &channels, "--set", &hidden]);
        let table = succeed(&arguments);
        assert!(table.contains(&format!("verified: {count} of {count} outputs identical")), "{table}");
    }
}
