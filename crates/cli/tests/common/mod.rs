//! What the tests of the program share: a tiny data set, tiny settings, and calls of the program.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::Path;
use std::process::{Command, Output};

/// Side of the tiny images.
pub const SIDE: usize = 8;

/// An IDX file of bytes.
pub fn idx(dims: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|dim| bytes.extend(dim.to_be_bytes()));
    bytes.extend(values);
    bytes
}

/// Image `index` of class `index % 4`: a bright quarter on a noisy ground.
pub fn image(index: usize) -> Vec<u8> {
    let class = index % 4;
    let noise = |pixel: usize| ((index * 7919 + pixel * 104_729) % 90) as u8;
    (0..SIDE * SIDE)
        .map(|pixel| {
            let quarter = (pixel / SIDE) / (SIDE / 2) * 2 + (pixel % SIDE) / (SIDE / 2);
            noise(pixel) + if quarter == class { 150 } else { 0 }
        })
        .collect()
}

/// Writes a set of `train` and `test` images into `folder`.
pub fn write_data(folder: &Path, train: usize, test: usize) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, first, count) in [("train", 0, train), ("t10k", 1000, test)] {
        let pixels: Vec<u8> = (first..first + count).flat_map(image).collect();
        let labels: Vec<u8> = (first..first + count).map(|index| (index % 4) as u8).collect();
        let side = SIDE as u32;
        std::fs::write(folder.join(format!("{name}-images-idx3-ubyte")), idx(&[count as u32, side, side], &pixels))
            .unwrap();
        std::fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), idx(&[count as u32], &labels)).unwrap();
    }
}

/// Settings with which a run takes a second.
pub const SMALL: [&str; 32] = [
    "--set",
    "gradient.method=fogzo",
    "--set",
    "gradient.begin=0.3",
    "--set",
    "gradient.beta_min=0.999",
    "--set",
    "diagnose.every=5",
    "--set",
    "diagnose.probes=2",
    "--set",
    "model.conv_net.channels=[4, 6]",
    "--set",
    "model.conv_net.kernel_size=3",
    "--set",
    "model.conv_net.hidden=[12]",
    "--set",
    "training.batch_size=16",
    "--set",
    "training.float_epochs=4",
    "--set",
    "training.float_learning_rate=0.02",
    "--set",
    "training.quantized_learning_rate=0.01",
    "--set",
    "training.quantized_epochs=3",
    "--set",
    "training.warmup_steps=4",
    "--set",
    "training.checkpoint_every=1",
    "--set",
    "augmentation.horizontal_flip=false",
];

/// The program with these arguments.
pub fn hardgrad(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hardgrad"));
    command.args(arguments).env("RUST_BACKTRACE", "0");
    command
}

/// Runs the program and expects success.
pub fn succeed(arguments: &[&str]) -> String {
    let output = hardgrad(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the program, expects this exit code and one line `error: ...` with all words, and returns the line.
pub fn fail(arguments: &[&str], code: i32, words: &[&str]) -> String {
    check_failure(hardgrad(arguments).output().unwrap(), code, words)
}

/// The last line that a failed call printed, after a check of its exit code and words.
pub fn check_failure(output: Output, code: i32, words: &[&str]) -> String {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    let lines: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    assert!(stderr.trim_end().ends_with(lines[0]), "the error is not the last line: {stderr}");
    for word in words {
        assert!(lines[0].contains(word), "{word:?} is not in: {}", lines[0]);
    }
    lines[0].to_string()
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Trains a tiny run in `folder/run` on data in `folder/data`.
pub fn tiny_run(folder: &Path) -> std::path::PathBuf {
    let (data, run) = (folder.join("data"), folder.join("run"));
    write_data(&data, 96, 40);
    let mut arguments = vec!["train", "qat", "--data", text(&data), "--out", text(&run)];
    arguments.extend(SMALL);
    succeed(&arguments);
    run
}
