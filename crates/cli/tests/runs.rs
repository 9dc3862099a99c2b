//! What a run says is true of that run: its folder is its own, its models carry their settings, its images are known.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use common::{SMALL, check_failure, fail, hardgrad, succeed, text, tiny_run, write_data};
use serde_json::Value;

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&succeed(arguments)).unwrap()
}

/// Replaces a text in a file, where it must be.
fn edit(path: &Path, from: &str, to: &str) {
    let old = fs::read_to_string(path).unwrap();
    assert!(old.contains(from), "{from} is not in {}", path.display());
    fs::write(path, old.replacen(from, to, 1)).unwrap();
}

#[test]
fn runs_that_start_together_get_folders_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_data(&data, 48, 8);
    let start = |seed: u64, extra: &[&str]| {
        let seed = seed.to_string();
        let mut arguments = vec!["train", "qat", "--data", text(&data), "--seed", &seed, "--json"];
        arguments.extend(SMALL);
        arguments.extend(["--set", "training.float_epochs=1", "--set", "training.quantized_epochs=1"]);
        arguments.extend(extra);
        let mut command = hardgrad(&arguments);
        command.current_dir(folder.path()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let runs: Vec<_> = (0..8).map(|seed| start(seed, &[])).collect();
    let mut folders = BTreeSet::new();
    for (seed, run) in runs.into_iter().enumerate() {
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        let run = folder.path().join(summary["folder"].as_str().unwrap());
        // Config and summary in the folder are those of this run.
        let written: Value = serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
        assert_eq!((&written, &written["seed"]), (&summary, &Value::from(seed)));
        assert!(fs::read_to_string(run.join("config.toml")).unwrap().contains(&format!("seed = {seed}\n")));
        assert!(!run.join(".hardgrad.lock").exists());
        folders.insert(run);
    }
    assert_eq!(folders.len(), 8);
    // The same name for several: one gets it, the others are told so.
    let runs: Vec<_> = (0..4).map(|seed| start(seed, &["--out", "mine"])).collect();
    let mut winners = Vec::new();
    for (seed, run) in runs.into_iter().enumerate() {
        let output = run.wait_with_output().unwrap();
        match output.status.success() {
            true => winners.push(seed),
            // Held by another, or filled by it.
            false => drop(check_failure(output, 2, &["mine", "another"])),
        }
    }
    assert_eq!(winners.len(), 1);
    let config = fs::read_to_string(folder.path().join("mine/config.toml")).unwrap();
    assert!(config.contains(&format!("seed = {}\n", winners[0])));
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_is_that_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (data, place, link) = (folder.path().join("data"), folder.path().join("place"), folder.path().join("link"));
    write_data(&data, 32, 8);
    fs::create_dir(&place).unwrap();
    std::os::unix::fs::symlink(&place, &link).unwrap();
    for force in [false, true] {
        let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&link)];
        arguments.extend(SMALL);
        if force {
            // It holds a run now.
            fail(&arguments, 2, &["link", "--force"]);
            arguments.push("--force");
        }
        succeed(&arguments);
        assert!(link.is_symlink() && place.join("model.safetensors").is_file());
    }
}

#[test]
fn a_finished_model_is_rebuilt_from_its_own_settings() {
    let folder = tempfile::tempdir().unwrap();
    let run = tiny_run(folder.path());
    let out = folder.path().join("packed.safetensors");
    let export = |force: bool| {
        let mut arguments = vec!["export", text(&run), "--out", text(&out), "--json"];
        arguments.extend(force.then_some("--force"));
        json(&arguments)
    };
    let (before, bytes) = (export(false), fs::read(&out).unwrap());
    let evaluation = json(&["eval", text(&run), "--json"]);
    assert_eq!(before["notes"], serde_json::json!([]));
    assert_eq!(before["accuracy"]["trained"], evaluation["accuracy"]);
    assert_eq!(before["accuracy"]["packed"], evaluation["accuracy"]);
    for (from, to) in [
        ("weight_bits = 2", "weight_bits = 4"),
        ("weight_range = \"lsq\"", "weight_range = \"min_max\""),
        ("channels = [4, 6]", "channels = [4, 4]"),
    ] {
        let config = fs::read_to_string(run.join("config.toml")).unwrap();
        edit(&run.join("config.toml"), from, to);
        let after = export(true);
        assert_eq!(fs::read(&out).unwrap(), bytes, "{to} changed the packed model");
        assert_eq!(after["accuracy"], before["accuracy"]);
        assert_eq!(after["notes"], before["notes"]);
        let evaluated = json(&["eval", text(&run), "--json"]);
        assert_eq!(evaluated["accuracy"], evaluation["accuracy"]);
        fs::write(run.join("config.toml"), config).unwrap();
    }
    // Nor does one that is none: the model knows all of it, also where its images lie.
    fs::write(run.join("config.toml"), "zero_point = tru").unwrap();
    assert_eq!(json(&["eval", text(&run), "--json"])["accuracy"], evaluation["accuracy"]);
    let data = folder.path().join("data");
    let evaluated = json(&["eval", text(&run), "--data", text(&data), "--json"]);
    assert_eq!(evaluated["accuracy"], evaluation["accuracy"]);
    // A model of other settings in its place is a model of other settings.
    let other = folder.path().join("other");
    let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&other)];
    arguments.extend(SMALL);
    arguments.extend(["--set", "quantization.weight_bits=3"]);
    succeed(&arguments);
    fs::copy(other.join("model.safetensors"), run.join("model.safetensors")).unwrap();
    let swapped = export(true);
    assert_eq!(swapped["accuracy"]["packed"], json(&["eval", text(&other), "--json"])["accuracy"]);
    // Another packed model in the place of the run's own, and another float network.
    let seven = folder.path().join("seven");
    let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&seven), "--seed", "7"];
    arguments.extend(SMALL);
    succeed(&arguments);
    fs::copy(other.join("model.packed.safetensors"), seven.join("model.packed.safetensors")).unwrap();
    fail(&["predict", text(&seven), "0"], 1, &["not the packed form of model.safetensors", "hardgrad export"]);
    fs::copy(other.join("float.safetensors"), seven.join("float.safetensors")).unwrap();
    fail(&["train", "--resume", text(&seven)], 1, &["float.safetensors", "the float network of another run"]);
    // The model of the float stage is none of the quantised one.
    fs::copy(other.join("float.safetensors"), run.join("model.safetensors")).unwrap();
    fail(&["eval", text(&run)], 1, &["model.safetensors", "the model of the float stage"]);
}

#[test]
fn numbers_are_held_out_images_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = tiny_run(folder.path());
    let (data, packed) = (folder.path().join("data"), run.join("model.packed.safetensors"));
    let by_run = json(&["predict", text(&run), "0", "1", "2", "--json"]);
    let by_data = json(&["predict", text(&packed), "0", "1", "2", "--data", text(&data), "--json"]);
    assert_eq!(by_run, by_data);
    let idx = data.join("t10k-images-idx3-ubyte");
    let by_file = json(&["predict", text(&packed), &format!("{}:2", text(&idx)), "--json"]);
    assert_eq!(by_run[2]["classes"], by_file[0]["classes"]);
    fail(&["predict", text(&packed), "0"], 2, &["0: a number is a held-out image", "--data DIR"]);
    fail(&["predict", text(&run), "40"], 2, &["40", "from 0 to 39"]);
    fail(&["predict", text(&packed), text(&idx)], 2, &["IDX", ":0"]);
    // A packed file can be evaluated, too, on images that are named.
    let evaluation = json(&["eval", text(&packed), "--data", text(&data), "--json"]);
    assert_eq!(evaluation["accuracy"], json(&["eval", text(&run), "--json"])["accuracy"]);
    fail(&["eval", text(&packed)], 2, &["model.packed.safetensors", "--data DIR"]);
    let model = run.join("model.safetensors");
    for arguments in [&["eval", text(&model)][..], &["inspect", text(&model)], &["predict", text(&model), "x.png"]] {
        fail(arguments, 2, &["a file of a run, not a packed model", "give the run folder"]);
    }
    // A packed file that is gone is no unfinished training.
    let kept = folder.path().join("kept");
    fs::rename(&packed, &kept).unwrap();
    fail(&["predict", text(&run), "0"], 1, &["model.packed.safetensors is gone", "hardgrad export"]);
    fs::rename(&kept, &packed).unwrap();
    // A run that is not at its end, and one that cannot be packed.
    let unfinished = folder.path().join("unfinished");
    fs::create_dir_all(unfinished.join("checkpoints")).unwrap();
    fs::copy(run.join("config.toml"), unfinished.join("config.toml")).unwrap();
    for verb in ["predict", "eval"] {
        let mut arguments = vec![verb, text(&unfinished)];
        arguments.extend((verb == "predict").then_some("0"));
        fail(&arguments, 1, &["unfinished", "training is not finished", "--resume"]);
    }
    let float = folder.path().join("float");
    let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&float)];
    arguments.extend(SMALL);
    arguments.extend(["--set", "quantization.activation_bits=32"]);
    succeed(&arguments);
    fail(
        &["predict", text(&float), "0"],
        1,
        &["no packed model", "conv2: its weight is quantised, but its input, relu1, is float"],
    );
}

/// The data of a run, changed in one way each.
fn changed_data(folder: &Path) -> Vec<(&'static str, PathBuf)> {
    let at = |name: &str| {
        let copy = folder.join(name);
        write_data(&copy, 96, 40);
        copy
    };
    let change = |folder: &Path, file: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(folder.join(file)).unwrap();
        change(&mut bytes);
        fs::write(folder.join(file), bytes).unwrap();
    };
    let labels = at("labels");
    // The same number of each label in another order.
    change(&labels, "train-labels-idx1-ubyte", &|bytes| bytes[8..].reverse());
    let doubled = at("doubled");
    for (file, header) in [("train-images-idx3-ubyte", 16), ("train-labels-idx1-ubyte", 8)] {
        change(&doubled, file, &|bytes| {
            let values = bytes[header..].to_vec();
            bytes[4..8].copy_from_slice(&192u32.to_be_bytes());
            bytes.extend(values);
        });
    }
    let pixel = at("pixel");
    change(&pixel, "t10k-images-idx3-ubyte", &|bytes| bytes[20] ^= 1);
    vec![("train-labels-idx1-ubyte", labels), ("train-images-idx3-ubyte", doubled), ("t10k-images-idx3-ubyte", pixel)]
}

#[test]
fn other_images_are_refused_at_resume_and_told_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let run = tiny_run(folder.path());
    let data = folder.path().join("data");
    assert!(succeed(&["inspect", text(&run)]).contains("the data are unchanged since training"));
    let accuracy = json(&["eval", text(&run), "--json"])["accuracy"].clone();
    for (file, other) in changed_data(folder.path()) {
        let old = folder.path().join("old");
        fs::rename(&data, &old).unwrap();
        fs::rename(&other, &data).unwrap();
        let is_not = format!("{file} is not the file with which this run was trained");
        fail(&["train", "--resume", text(&run)], 2, &[&is_not, "new run"]);
        fail(&["eval", text(&run)], 2, &[&is_not, "--data"]);
        let out = folder.path().join("x");
        fail(&["export", text(&run), "--out", text(&out)], 2, &[&is_not]);
        fail(&["predict", text(&run), "0"], 2, &[&is_not]);
        assert!(!out.exists());
        let inspection = succeed(&["inspect", text(&run)]);
        assert!(inspection.contains(&format!("{file} differs")), "{inspection}");
        // Named images are evaluated, and the table says that they are others.
        let evaluation = json(&["eval", text(&run), "--data", text(&data), "--json"]);
        assert!(evaluation["notes"][0].as_str().unwrap().contains(file), "{evaluation}");
        fs::remove_dir_all(&data).unwrap();
        fs::rename(&old, &data).unwrap();
    }
    // Compressed or under their other names they are the same.
    for part in ["images-idx3", "labels-idx1"] {
        fs::rename(data.join(format!("t10k-{part}-ubyte")), data.join(format!("test-{part}-ubyte"))).unwrap();
    }
    assert_eq!(json(&["eval", text(&run), "--json"])["accuracy"], accuracy);
    succeed(&["train", "qat", "--resume", text(&run)]);
    fs::remove_dir_all(&data).unwrap();
    assert!(succeed(&["inspect", text(&run)]).contains("could not be seen"));
}

#[test]
fn quantisation_alone_and_float_networks_of_other_runs() {
    let folder = tempfile::tempdir().unwrap();
    let run = tiny_run(folder.path());
    let data = folder.path().join("data");
    let train = |name: &str, extra: &[&str]| {
        let out = folder.path().join(name);
        let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&out)];
        arguments.extend(SMALL.iter().filter(|word| !word.starts_with("training.float_epochs")).copied());
        // The `--set` of the setting left out would take the next word for its value.
        let lone = arguments.windows(2).position(|pair| pair == ["--set", "--set"]).unwrap();
        arguments.remove(lone);
        arguments.extend(extra);
        (out.clone(), serde_json::from_str::<Value>(&succeed(&[&arguments[..], &["--json"]].concat())).unwrap())
    };
    let float = fs::read(run.join("float.safetensors")).unwrap();
    let numbers = |summary: &Value| {
        let rows = summary["rows"].as_array().unwrap().clone();
        rows.iter().map(|row| (row["model"].clone(), row["accuracy"].clone())).collect::<Vec<_>>()
    };
    let first: Value = serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
    // The same float network, so the same quantised one.
    let (again, summary) = train("again", &["--init", text(&run)]);
    assert_eq!(numbers(&summary), numbers(&first));
    let tensors = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + header..].to_vec()
    };
    for name in ["float.safetensors", "model.safetensors"] {
        assert!(tensors(&again.join(name)) == tensors(&run.join(name)), "{name}");
    }
    let metrics = fs::read_to_string(again.join("metrics.csv")).unwrap();
    assert!(!metrics.contains("float,") && metrics.contains("quantized,1,"), "{metrics}");
    // Quantisation after training alone, of a network at hand.
    let (plain, summary) = train(
        "after",
        &["--init", text(&run), "--set", "training.quantized_epochs=0", "--set", "gradient.method=straight_through"],
    );
    assert_eq!(numbers(&summary), numbers(&first)[..2]);
    assert_eq!(summary["verified"], serde_json::json!([40, 40]));
    assert_eq!(json(&["eval", text(&plain), "--json"])["accuracy"], numbers(&first)[1].1);
    succeed(&["train", "--resume", text(&plain)]);
    // Other images than those of its float network: that is told, and stays with the model.
    let other = folder.path().join("other images");
    write_data(&other, 96, 40);
    let labels = other.join("train-labels-idx1-ubyte");
    let mut bytes = fs::read(&labels).unwrap();
    bytes.swap(8, 9);
    fs::write(&labels, bytes).unwrap();
    let moved = folder.path().join("moved");
    let mut arguments = vec!["train", "qat", "--data", text(&other), "--out", text(&moved)];
    arguments.extend(SMALL);
    arguments.extend(["--set", "training.float_epochs=0", "--init", text(&run)]);
    let output = hardgrad(&arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("trained on other images: train-labels-idx1-ubyte differs"), "{stderr}");
    let origin =
        "it began with the network of a run with seed 0 on data, other images: train-labels-idx1-ubyte differs";
    assert!(succeed(&["inspect", text(&moved)]).contains(origin));
    // Also where it comes from that run, and after a resume.
    let (third, _) = train("third", &["--init", text(&moved)]);
    fs::remove_dir_all(&moved).unwrap();
    succeed(&["train", "--resume", text(&third)]);
    assert!(succeed(&["inspect", text(&third)]).matches("it began with the network of a run with seed 0").count() == 2);
    // Float training that goes on.
    let (longer, _) = train("longer", &["--init", text(&run), "--set", "training.float_epochs=1"]);
    assert!(tensors(&longer.join("float.safetensors")) != tensors(&run.join("float.safetensors")));
    assert_eq!(fs::read(run.join("float.safetensors")).unwrap(), float);

    let out = folder.path().join("out");
    let refused = |extra: &[&str], words: &[&str]| {
        let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&out)];
        arguments.extend(extra);
        fail(&arguments, 2, words);
        assert!(!out.exists());
    };
    refused(&["--set", "training.float_epochs=0"], &["training.float_epochs", "--init"]);
    refused(&["--init", text(&run)], &["training.init", "another node conv1", "--model"]);
    fail(&["train", "qat", "--init", text(&data), "--out", text(&out)], 1, &["data", "not a run folder"]);
    // Flags win over files, also where a file has every key.
    let config = folder.path().join("all.toml");
    fs::write(&config, fs::read_to_string(run.join("config.toml")).unwrap()).unwrap();
    let (data_text, run_text) = (text(&data), text(&run));
    let flags = folder.path().join("flags");
    succeed(&[
        "train",
        "qat",
        "--config",
        text(&config),
        "--data",
        data_text,
        "--init",
        run_text,
        "--out",
        text(&flags),
    ]);
    let written = fs::read_to_string(flags.join("config.toml")).unwrap();
    assert!(written.contains("float_epochs = 0\n") && written.contains(&format!("init = \"{run_text}\"")), "{written}");
    assert!(tensors(&flags.join("float.safetensors")) == tensors(&run.join("float.safetensors")));
    // What training reads is not emptied for what it writes.
    for (out, what) in [(&run, "training.init"), (&data, "data.directory")] {
        let arguments = ["train", "qat", "--data", text(&data), "--init", text(&run), "--out", text(out), "--force"];
        let arguments: Vec<&str> = arguments.into_iter().chain(SMALL).collect();
        fail(&arguments, 2, &[what, "choose another --out"]);
    }
    assert!(run.join("model.safetensors").is_file() && data.join("t10k-labels-idx1-ubyte").is_file());
    fail(&["train", "vqvae", "--resume", text(&run)], 2, &["recipe qat, not vqvae"]);
}

#[cfg(target_os = "linux")]
#[test]
fn paths_may_have_any_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let odd = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
    let (data, run, packed) = (odd(b"d\xe9ta"), odd(b"r\xffn"), odd(b"p\xfe.safetensors"));
    write_data(&data, 64, 16);
    let call = |arguments: &[&OsStr]| {
        let output = hardgrad(&[]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let word = OsStr::new;
    let mut arguments =
        vec![word("train"), word("qat"), word("--data"), data.as_os_str(), word("--out"), run.as_os_str()];
    arguments.extend(SMALL.iter().map(OsStr::new));
    arguments.push(word("--json"));
    let summary: Value = serde_json::from_str(&call(&arguments)).unwrap();
    assert_eq!(summary["verified"], serde_json::json!([16, 16]));
    assert!(summary["folder"].as_str().unwrap().ends_with("r%FFn"), "{summary}");
    call(&[word("data"), word("check"), data.as_os_str()]);
    call(&[word("eval"), run.as_os_str()]);
    call(&[word("train"), word("--resume"), run.as_os_str()]);
    call(&[word("export"), run.as_os_str(), word("--out"), packed.as_os_str()]);
    call(&[word("inspect"), packed.as_os_str()]);
    let mut idx = data.join("t10k-images-idx3-ubyte").into_os_string();
    idx.push(":3");
    let by_index: Value =
        serde_json::from_str(&call(&[word("predict"), packed.as_os_str(), &idx, word("--json")])).unwrap();
    let by_number: Value =
        serde_json::from_str(&call(&[word("predict"), run.as_os_str(), word("3"), word("--json")])).unwrap();
    assert_eq!(by_index[0]["classes"], by_number[0]["classes"]);
    let init = odd(b"\xe9init");
    let mut arguments =
        vec![word("train"), word("qat"), word("--data"), data.as_os_str(), word("--out"), init.as_os_str()];
    arguments.extend(SMALL.iter().map(OsStr::new));
    arguments.extend([word("--init"), run.as_os_str()]);
    call(&arguments);
}
