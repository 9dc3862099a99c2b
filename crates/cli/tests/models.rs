//! Networks as data, through the program: presets and files of one's own, what is wrong with a description, weights from
//! elsewhere.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::{SIDE, fail, hardgrad, succeed, text, write_data};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

/// Each preset with sizes that take a second.
const PRESETS: [(&str, &[&str]); 5] = [
    ("conv_net", &["model.conv_net.channels=[3]", "model.conv_net.kernel_size=3", "model.conv_net.hidden=[4]"]),
    ("lenet", &["model.lenet.channels=[2, 3]", "model.lenet.hidden=5"]),
    ("mlp", &["model.mlp.hidden=[6, 5]"]),
    ("resnet20", &["model.resnet20.width=2"]),
    ("vit", &["model.vit.width=6", "model.vit.heads=2", "model.vit.layers=1"]),
];

/// Two short stages.
const SHORT: [&str; 4] =
    ["training.batch_size=16", "training.float_epochs=1", "training.quantized_epochs=1", "training.warmup_steps=1"];

/// Trains with these settings and further arguments; the models that came of it.
fn train(data: &Path, run: &Path, threads: &str, settings: &[&str], more: &[&str]) -> [Vec<u8>; 3] {
    let mut arguments = vec!["train", "qat", "--data", text(data), "--out", text(run)];
    for setting in SHORT.iter().chain(settings) {
        arguments.extend(["--set", setting]);
    }
    arguments.extend(more);
    let output = hardgrad(&arguments).env("RAYON_NUM_THREADS", threads).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("verified: 24 of 24 outputs identical"), "{arguments:?}: {stdout}");
    ["float.safetensors", "model.safetensors", "model.packed.safetensors"].map(|name| fs::read(run.join(name)).unwrap())
}

#[test]
fn a_preset_and_its_text_give_the_same_bytes_with_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_data(&data, 48, 24);
    let listed = succeed(&["models"]);
    for (preset, sizes) in PRESETS {
        assert!(listed.contains(&format!("{preset}: ")), "{listed}");
        let of_preset = format!("model.preset={preset}");
        let settings: Vec<&str> = [&of_preset[..]].into_iter().chain(sizes.iter().copied()).collect();
        let by_name = train(&data, &folder.path().join(preset), "1", &settings, &[]);

        let mut show = vec!["models", "show", preset, "--data", text(&data)];
        sizes.iter().for_each(|size| show.extend(["--set", size]));
        let file = folder.path().join(format!("{preset}.toml"));
        fs::write(&file, succeed(&show)).unwrap();
        let by_file = train(&data, &folder.path().join(format!("{preset}2")), "3", &[], &["--model", text(&file)]);
        assert!(by_name == by_file, "{preset}: the models differ");

        let report: Value = serde_json::from_str(&succeed(&["models", "check", text(&file), "--json"])).unwrap();
        assert_eq!(report["input"], serde_json::json!([1, SIDE, SIDE]));
        let nodes = report["nodes"].as_array().unwrap();
        assert_eq!(nodes.last().unwrap()["output"], serde_json::json!([4]), "{preset}");
        let packed = succeed(&["inspect", text(&folder.path().join(preset)), "--json"]);
        let packed: Value = serde_json::from_str(&packed).unwrap();
        assert_eq!(packed["multiply_accumulates"], report["multiply_accumulates"], "{preset}");
    }
}

#[test]
fn a_run_is_drawn_with_its_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (folder.path().join("data"), folder.path().join("run"));
    write_data(&data, 48, 24);
    train(&data, &run, "2", &["model.preset=resnet20", "model.resnet20.width=2"], &[]);
    let svg = folder.path().join("graph.svg");
    succeed(&["inspect", text(&run), "--svg", text(&svg)]);
    let drawn = fs::read_to_string(&svg).unwrap();
    for node in ["conv1", "block4.shortcut.conv", "block9.relu2", "output"] {
        assert!(drawn.contains(node), "{node} is not drawn");
    }
}

/// A description of these nodes for the images of the tests.
fn described(nodes: &str) -> String {
    format!("[input]\nshape = [1, {SIDE}, {SIDE}]\n{nodes}")
}

#[test]
fn what_is_wrong_with_a_description_names_its_node() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("net.toml"));
    write_data(&data, 48, 24);
    let node = |name: &str, rest: &str| format!("[[node]]\nname = \"{name}\"\n{rest}\n");
    let end = node("flat", "op = \"flatten\"") + &node("output", "op = \"linear\"\noutputs = 4");
    for (nodes, words) in [
        (String::new(), &["node"][..]),
        (node("a", "op = \"relu\"\ninput = \"b\"") + &node("b", "op = \"relu\"") + &end, &["node a", "b"]),
        (node("a", "op = \"relu\"\ninput = \"a\"") + &end, &["node a"]),
        (node("a", "op = \"relu\"\ninput = \"nothing\"") + &end, &["node a", "nothing"]),
        (node("a", "op = \"relu\"") + &node("a", "op = \"relu\"") + &end, &["\"a\" is used twice"]),
        (node("a", "op = \"rellu\"") + &end, &["node a", "did you mean relu"]),
        (node("a", "op = \"conv2d\"\nchannels = 4\nkernal = 3") + &end, &["node a", "kernal", "kernel"]),
        (node("a", "op = \"conv2d\"\nchannels = 4\nkernel = 30") + &end, &["node a"]),
        (node("a", "op = \"conv2d\"\nchannels = 999999999999\nkernel = 3") + &end, &["node a"]),
        (node("a", "op = \"conv2d\"\nchannels = -1\nkernel = 3") + &end, &["node a"]),
        (node("a", "op = \"add\"") + &end, &["node a", "2"]),
        (node("a", "op = \"attention\"\nheads = 3") + &end, &["node a"]),
        (node("a", "op = \"max_pool2d\"\nkernel = 0") + &end, &["node a"]),
        ("[[node]\n".to_string(), &["net.toml"]),
    ] {
        fs::write(&file, described(&nodes)).unwrap();
        fail(&["models", "check", text(&file)], 2, words);
        let out = folder.path().join("run");
        fail(&["train", "qat", "--data", text(&data), "--model", text(&file), "--out", text(&out)], 2, words);
        assert!(!out.exists());
    }
    // Right in itself, but not for these data.
    fs::write(&file, described(&end.replace("outputs = 4", "outputs = 5"))).unwrap();
    succeed(&["models", "check", text(&file)]);
    fail(&["train", "qat", "--data", text(&data), "--model", text(&file)], 2, &["5", "4 classes"]);
    fs::write(&file, described(&end).replace("[1, 8, 8]", "[3, 8, 8]")).unwrap();
    fail(&["train", "qat", "--data", text(&data), "--model", text(&file)], 2, &["[3, 8, 8]", "[1, 8, 8]"]);
    fail(&["models", "show", "resnet"], 2, &["did you mean resnet20"]);
    fail(&["models", "check", text(folder.path())], 1, &["not a file"]);
}

/// The parameters of a run's float network under the names and in the layouts of PyTorch, each name through `rename`.
fn write_weights(run: &Path, file: &Path, rename: impl Fn(&str) -> String) {
    let bytes = fs::read(run.join("float.safetensors")).unwrap();
    let mut tensors = BTreeMap::new();
    for (name, tensor) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let mut shape = tensor.shape().to_vec();
        let mut values: Vec<[u8; 4]> = tensor.data().chunks_exact(4).map(|value| value.try_into().unwrap()).collect();
        let linear = name.ends_with(".weight") && shape.len() == 2;
        if linear {
            let [inputs, outputs] = [shape[0], shape[1]];
            values = (0..outputs)
                .flat_map(|output| (0..inputs).map(move |input| input * outputs + output))
                .map(|place| values[place])
                .collect();
            shape.reverse();
        }
        let theirs = name.replace(".gamma", ".weight").replace(".beta", ".bias").replace("_variance", "_var");
        tensors.insert(rename(&theirs), (shape, values.concat()));
    }
    let views =
        tensors.iter().map(|(name, (shape, bytes))| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    fs::write(file, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn weights_from_elsewhere_are_quantised_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let in_folder = |name: &str| -> PathBuf { folder.path().join(name) };
    let (data, base, file, names) =
        (in_folder("data"), in_folder("base"), in_folder("w.safetensors"), in_folder("names"));
    write_data(&data, 48, 24);
    let settings = ["model.conv_net.channels=[3]", "model.conv_net.kernel_size=3", "model.conv_net.hidden=[4]"];
    train(&data, &base, "2", &settings, &[]);
    let expected: Value = serde_json::from_slice(&fs::read(base.join("summary.json")).unwrap()).unwrap();

    write_weights(&base, &file, str::to_string);
    let init = |run: &str, extra: &[&str]| {
        let mut arguments = vec!["train", "qat", "--data", text(&data), "--init", text(&file)];
        let out = in_folder(run);
        arguments.extend(["--out", text(&out)]);
        for setting in settings.iter().chain(&["training.quantized_epochs=0"]).chain(extra) {
            arguments.extend(["--set", setting]);
        }
        hardgrad(&arguments).output().unwrap()
    };
    let output = init("same", &[]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("training.init: loaded: conv1.weight, norm1.gamma"), "{stderr}");
    let found: Value = serde_json::from_slice(&fs::read(in_folder("same/summary.json")).unwrap()).unwrap();
    for row in [0, 1] {
        assert_eq!(found["rows"][row]["accuracy"], expected["rows"][row]["accuracy"]);
    }
    assert_eq!(found["verified"], serde_json::json!([24, 24]));

    // Other names, a tensor too many, and then what does not fit.
    write_weights(&base, &file, |name| name.replace("conv1", "stem.0"));
    common::check_failure(init("none", &[]), 1, &["it has no conv1.weight", "stem.0", "training.rename"]);
    fs::write(&names, "stem.0 conv1\n").unwrap();
    let rename = format!("training.rename={}", text(&names));
    let output = init("renamed", &[&rename]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        fs::read(in_folder("renamed/model.packed.safetensors")).unwrap()
            == fs::read(in_folder("same/model.packed.safetensors")).unwrap()
    );
    fs::write(&names, "stem.0 conv9\n").unwrap();
    common::check_failure(init("none", &[&rename]), 2, &["names:1", "the network has no conv9"]);
    write_weights(&base, &file, str::to_string);
    common::check_failure(
        init("none", &["model.conv_net.hidden=[5]"]),
        1,
        &["linear1.weight", "the network needs [5, "],
    );
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 7]).unwrap();
    common::check_failure(init("none", &[]), 1, &["w.safetensors"]);
    assert!(!in_folder("none").exists());
    // Settings that need random weights have none.
    fail(&["train", "qat", "--set", "training.float_epochs=0"], 2, &["training.float_epochs", "--init"]);
}

#[test]
fn the_best_epoch_is_one_of_the_quantised_network() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_data(&data, 96, 24);
    let sizes = ["model.conv_net.channels=[3]", "model.conv_net.kernel_size=3", "model.conv_net.hidden=[4]"];
    let delayed = ["quantization.delay=9", "training.quantized_epochs=4", "training.keep=best"];
    for (name, more) in [
        ("best", &["training.patience=0"][..]),
        ("patience", &["training.patience=1", "training.quantized_learning_rate=1e-20"]),
    ] {
        let settings: Vec<&str> = sizes.iter().chain(&delayed).chain(more).copied().collect();
        train(&data, &folder.path().join(name), "2", &settings, &[]);
    }
}

#[test]
fn the_table_says_what_the_packed_model_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_data(&data, 48, 24);
    let sizes = ["model.conv_net.channels=[3, 3]", "model.conv_net.kernel_size=3", "model.conv_net.hidden=[4]"];
    let float = ["weight_bits", "activation_bits", "first_layer_bits", "last_layer_bits"]
        .map(|key| format!("quantization.{key}=32"));
    let rules = ["quantization.rules=[{nodes = \"*2\", weight_bits = 3, activation_bits = 5}]".to_string()];
    let mixed = ["quantization.first_layer_bits=32".to_string()];
    for (name, extra, bits, arithmetic) in [
        ("float", &float[..], [32, 32], "float32"),
        ("rules", &rules[..], [3, 5], "integer"),
        ("mixed", &mixed[..], [2, 2], "integer, float32"),
    ] {
        let run = folder.path().join(name);
        let settings: Vec<&str> = sizes.iter().copied().chain(extra.iter().map(String::as_str)).collect();
        train(&data, &run, "2", &settings, &[]);
        let summary: Value = serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
        let row = &summary["rows"][2];
        let found = (&row["bits"], row["arithmetic"].as_str().unwrap());
        assert_eq!(found, (&serde_json::json!(bits), arithmetic), "{name}");
    }
}
