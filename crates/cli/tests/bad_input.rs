//! Wrong use and broken files: one clear line that names the thing and the mend, and nothing lost.

mod common;

use std::fs;
use std::path::Path;

use common::{SMALL, check_failure, fail, hardgrad, idx, succeed, text, tiny_run, write_data};

fn train_fails(data: &Path, words: &[&str]) {
    let out = data.join("run");
    fail(&["train", "qat", "--data", text(data), "--out", text(&out)], 1, words);
    assert!(!out.exists(), "a run folder was made in spite of the error");
}

#[test]
fn broken_data_sets() {
    let folder = tempfile::tempdir().unwrap();
    type Break = (&'static str, fn(Vec<u8>) -> Vec<u8>, &'static [&'static str]);
    let cases: [Break; 6] = [
        ("train-images-idx3-ubyte", |bytes| bytes[..bytes.len() - 1].to_vec(), &["train-images-idx3-ubyte"]),
        (
            "train-images-idx3-ubyte",
            |mut bytes| {
                bytes.push(0);
                bytes
            },
            &["train-images-idx3-ubyte"],
        ),
        (
            "t10k-images-idx3-ubyte",
            |mut bytes| {
                bytes[2] = 0x0d;
                bytes
            },
            &["t10k-images-idx3-ubyte"],
        ),
        (
            "t10k-labels-idx1-ubyte",
            |mut bytes| {
                bytes[9] = 200;
                bytes
            },
            &["t10k-labels-idx1-ubyte", "200"],
        ),
        ("train-labels-idx1-ubyte", |_| idx(&[3], &[0, 1, 3]), &["train-labels-idx1-ubyte", "3"]),
        (
            "train-images-idx3-ubyte",
            |mut bytes| {
                bytes[4..16].fill(0xff);
                bytes
            },
            &["train-images-idx3-ubyte"],
        ),
    ];
    for (index, (name, change, words)) in cases.into_iter().enumerate() {
        let data = folder.path().join(index.to_string());
        write_data(&data, 16, 8);
        let path = data.join(name);
        fs::write(&path, change(fs::read(&path).unwrap())).unwrap();
        train_fails(&data, words);
        fail(&["data", "check", text(&data)], 1, words);
    }
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    train_fails(&empty, &["empty"]);
    fail(&["train", "qat", "--data", text(&folder.path().join("nowhere"))], 1, &["nowhere"]);
}

#[test]
fn a_known_set_with_other_bytes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lab/assets/fashion-mnist-subset");
    for entry in fs::read_dir(assets).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    assert!(succeed(&["data", "check", text(folder.path())]).contains("all checksums hold"));
    // Other labels beside the images of a known set.
    fs::remove_file(folder.path().join("t10k-labels-idx1-ubyte.gz")).unwrap();
    fs::write(folder.path().join("t10k-labels-idx1-ubyte"), idx(&[1000], &[1; 1000])).unwrap();
    train_fails(folder.path(), &["t10k-labels-idx1-ubyte", "fashion-mnist-subset", "SHA-256"]);
}

#[test]
fn wrong_settings_and_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let set = |change: &str, words: &[&str]| {
        let out = folder.path().join("run");
        fail(&["train", "qat", "--out", text(&out), "--set", change], 2, words);
        assert!(!out.exists());
    };
    set("quantization.weight_bits=0", &["quantization.weight_bits", "1 to 8"]);
    set("quantization.weight_bits=33", &["quantization.weight_bits", "33"]);
    set("quantisation.weight_bits=3", &["quantisation", "did you mean quantization"]);
    set("training.float_epoch=3", &["training.float_epoch", "did you mean training.float_epochs?"]);
    let config = folder.path().join("my.toml");
    fs::write(&config, "[training]\nbatchsize = 3\n").unwrap();
    fail(
        &["train", "qat", "--config", text(&config)],
        2,
        &["my.toml", "batchsize", "did you mean training.batch_size?"],
    );
    fs::write(&config, "[training\n").unwrap();
    fail(&["train", "qat", "--config", text(&config)], 2, &["my.toml"]);
    fail(&["train", "qta"], 2, &["qta", "did you mean qat?"]);
    for arguments in [&["train"][..], &["train", "--resume", "x", "--seed", "1"], &["fly"], &["predict", "x"]] {
        assert_eq!(hardgrad(arguments).output().unwrap().status.code(), Some(2), "{arguments:?}");
    }
    set("quantization.delay=100000", &["quantization.delay", "below"]);
    set("model.conv_net.channels=[65536, 65536]", &["model", "parameters"]);
    set("recipe=foo", &["foo", "recipe"]);
    // The printed defaults are taken back: the only complaint is about the data folder.
    fs::write(&config, succeed(&["recipes", "show", "qat"])).unwrap();
    fail(&["train", "qat", "--config", text(&config), "--data", "/nowhere"], 1, &["/nowhere"]);
}

#[test]
fn a_run_that_exists_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let run = tiny_run(folder.path());
    let before = fs::read(run.join("model.safetensors")).unwrap();
    fail(&["train", "qat", "--out", text(&run)], 2, &["--resume", "--force"]);
    assert_eq!(fs::read(run.join("model.safetensors")).unwrap(), before);
    // --force replaces runs, not other folders.
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter"), "dear").unwrap();
    fail(&["train", "qat", "--out", text(&other), "--force"], 1, &["other", "not a run folder"]);
    assert!(other.join("letter").is_file());
    fail(&["train", "qat", "--out", text(&other.join("letter"))], 2, &["a file is in the way"]);
    let own = run.join("float.safetensors");
    fail(&["export", text(&run), "--out", text(&own), "--force"], 2, &["float.safetensors", "the run itself needs"]);
    let packed = run.join("model.packed.safetensors");
    fail(&["export", text(&run), "--out", text(&packed)], 2, &["exists", "--force"]);
    for verb in [&["eval", text(&other)][..], &["train", "qat", "--resume", text(&other)]] {
        fail(verb, 1, &["other", "config.toml is missing"]);
    }
    // Nor folders of other programs that have a config.toml too.
    fs::write(other.join("config.toml"), "[build]\n").unwrap();
    fail(&["train", "qat", "--out", text(&other), "--force"], 2, &["other", "unknown key build"]);
    assert!(other.join("letter").is_file());
}

#[test]
fn damaged_files_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = tiny_run(folder.path());
    let packed = run.join("model.packed.safetensors");
    let model = run.join("model.safetensors");
    for (path, verb) in [(&packed, ["inspect", text(&packed)]), (&model, ["eval", text(&run)])] {
        let bytes = fs::read(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        for length in [0, 7, 8, 40, bytes.len() / 2, bytes.len() - 1] {
            fs::write(path, &bytes[..length]).unwrap();
            fail(&verb, 1, &[name]);
        }
        let mut huge = bytes.clone();
        huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        fs::write(path, &huge).unwrap();
        fail(&verb, 1, &[name]);
        let mut flipped = bytes.clone();
        *flipped.last_mut().unwrap() ^= 0x40;
        fs::write(path, &flipped).unwrap();
        fail(&verb, 1, &[name, "checksum"]);
        fs::write(path, &bytes).unwrap();
        succeed(&verb);
    }
    fail(&["predict", text(&packed), "no.png"], 1, &["no.png"]);
    fail(&["predict", text(&packed), "0"], 2, &["0: a number is a held-out image", "--data DIR"]);
    fail(&["predict", text(&model), "0"], 2, &["model.safetensors", "give the run folder"]);
}

#[test]
fn a_loss_that_is_not_finite_stops_with_the_last_checkpoint_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (folder.path().join("data"), folder.path().join("run"));
    write_data(&data, 96, 8);
    let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&run)];
    arguments.extend(SMALL);
    arguments.extend(["--set", "training.float_learning_rate=1e30", "--set", "training.warmup_steps=0"]);
    fail(&arguments, 1, &["not finite at step", "float_learning_rate", "1e30", "--resume"]);
    assert!(!run.join("model.safetensors").exists());
    // The mend that the message names works: whatever was kept is good.
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    let lowered: String = config
        .lines()
        .map(|line| {
            if line.starts_with("float_learning_rate") {
                "float_learning_rate = 0.01\n".into()
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    fs::write(run.join("config.toml"), lowered).unwrap();
    succeed(&["train", "--resume", text(&run)]);
}

#[test]
fn guidance_that_cannot_be() {
    let set = |setting, words: &[&str]| fail(&["train", "qat", "--set", setting], 2, words);
    set("gradient.directions=0", &["gradient.directions", "1 to 65535", "got 0"]);
    set("gradient.beta_min=-0.1", &["gradient.beta_min", "from 0 to 1", "-0.1"]);
    set("gradient.epsilon=0", &["gradient.epsilon", "above 0"]);
    set("gradient.method=spza", &["gradient", "spsa"]);
    set("gradient.begin=0.9999", &["gradient.begin", "0.9999"]);
    set("gradient.epsilon=1e300", &["gradient.epsilon", "at most 1000"]);
    let float = ["weight_bits", "first_layer_bits", "last_layer_bits"].map(|key| format!("quantization.{key}=32"));
    let mut arguments = vec!["train", "qat", "--set", "gradient.method=fogzo"];
    float.iter().for_each(|setting| arguments.extend(["--set", setting]));
    fail(&arguments, 2, &["gradient.method", "no weight is quantised", "fogzo"]);
}

#[test]
fn variables_of_the_environment_that_cannot_be() {
    let with = |name: &str, value: &str| hardgrad(&["recipes"]).env(name, value).output().unwrap();
    for (name, value) in [("HARDGRAD_SIMD", "protable"), ("RAYON_NUM_THREADS", "abc"), ("RAYON_NUM_THREADS", "-3")] {
        check_failure(with(name, value), 2, &[name, value]);
    }
    for (name, value) in [("HARDGRAD_SIMD", "avx2"), ("HARDGRAD_SIMD", ""), ("RAYON_NUM_THREADS", "3")] {
        assert!(with(name, value).status.success(), "{name}={value}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn nobody_who_reads_the_errors_changes_no_exit_code() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = hardgrad(&["train", "qta"]).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(2));
    let output = hardgrad(&["bench", "--only", "op/none", "--json", "-"]).stderr(full()).output().unwrap();
    assert!(output.status.success() && output.stdout.starts_with(b"{"));
}

#[test]
fn places_that_cannot_be_written() {
    // A file where a folder should be; this holds for root too, who may write into read-only folders.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let inside = folder.path().join("file/run");
    fail(&["train", "qat", "--out", text(&inside)], 1, &["file/run"]);
    #[cfg(target_os = "linux")]
    fail(&["train", "qat", "--out", "/proc/run"], 1, &["/proc/run"]);
}

#[cfg(unix)]
#[test]
fn a_disk_that_fills_up_keeps_what_was_written() {
    // A limit on the size of files stands for a full disk: the write fails in the middle, with an error of the system.
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (folder.path().join("data"), folder.path().join("run"));
    write_data(&data, 96, 8);
    let limited = |arguments: &[&str], kibibytes: u32| {
        let command = format!("trap '' XFSZ; ulimit -f {kibibytes}; exec \"$0\" \"$@\"");
        std::process::Command::new("bash")
            .args(["-c", &command, env!("CARGO_BIN_EXE_hardgrad")])
            .args(arguments)
            .output()
            .unwrap()
    };
    let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&run)];
    arguments.extend(SMALL);
    // The config fits, a checkpoint does not.
    check_failure(limited(&arguments, 4), 1, &["checkpoints", "writing failed"]);
    let left: Vec<_> = run.join("checkpoints").read_dir().unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    succeed(&["train", "--resume", text(&run)]);

    // An export that does not fit leaves no file, and what was there before.
    let out = folder.path().join("packed.safetensors");
    fs::write(&out, "old").unwrap();
    check_failure(limited(&["export", text(&run), "--out", text(&out), "--force"], 1), 1, &["packed.safetensors"]);
    assert_eq!(fs::read(&out).unwrap(), b"old");
}
