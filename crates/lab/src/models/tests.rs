use hardgrad_runtime::Op;
use proptest::prelude::*;

use super::*;
use crate::config::VitSizes;

/// A preset with the sizes of the defaults.
fn preset(name: &str, shape: &[usize]) -> Description {
    describe(&ModelConfig { preset: name.to_string(), ..ModelConfig::default() }, shape, 10).unwrap()
}

fn refused(model: &ModelConfig, shape: &[usize]) -> String {
    describe(model, shape, 10).unwrap_err().to_string()
}

#[test]
fn every_preset_takes_images_of_many_sizes_and_comes_back_from_its_text() {
    for preset_of in &PRESETS {
        for shape in [[1, 28, 28], [3, 32, 32], [1, 8, 8], [4, 12, 20]] {
            let network = preset(preset_of.name, &shape);
            let report = report(&network).unwrap();
            assert_eq!(report.nodes.last().unwrap().output, [10], "{}", preset_of.name);
            assert_eq!(report.nodes.last().unwrap().name, "output");
            let text = description_toml(&network);
            assert_eq!(parse_description(&text, "x").unwrap(), network, "{text}");
        }
    }
    // A pixel is enough for those that do not cut patches.
    for name in ["conv_net", "lenet", "mlp", "resnet20"] {
        preset(name, &[1, 1, 1]);
    }
}

#[test]
fn presets_have_the_sizes_that_their_sources_tell() {
    let parameters = |name, shape: &[usize]| report(&preset(name, shape)).unwrap().parameters;
    // He et al.: 0.27 million; here with convolutions as shortcuts.
    assert_eq!(parameters("resnet20", &[3, 32, 32]), 272_474);
    assert_eq!(parameters("lenet", &[1, 28, 28]), (25 + 1) * 32 + (32 * 25 + 1) * 64 + (3136 + 1) * 512 + 513 * 10);
    assert_eq!(parameters("conv_net", &[1, 28, 28]), (25 + 2) * 32 + (32 * 25 + 2) * 64 + (3136 + 1) * 512 + 513 * 10);
    assert_eq!(parameters("mlp", &[13]), 14 * 512 + 513 * 512 + 513 * 10);
    let layer = 4 * 192 + 193 * 576 + 193 * 192 + 193 * 768 + 769 * 192;
    assert_eq!(parameters("vit", &[1, 28, 28]), 17 * 192 + 49 * 192 + 4 * layer + 2 * 192 + 193 * 10);
}

#[test]
fn nodes_have_names_that_people_read() {
    let names = |name| preset(name, &[3, 32, 32]).nodes.into_iter().map(|node| node.name).collect::<Vec<_>>();
    let conv_net = ["conv1", "norm1", "pool1", "relu1", "conv2", "norm2", "pool2", "relu2"];
    assert_eq!(names("conv_net"), [&conv_net[..], &["flatten", "linear1", "relu3", "output"]].concat());
    let lenet = ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "flatten", "linear1", "relu3", "output"];
    assert_eq!(names("lenet"), lenet);
    assert_eq!(names("mlp"), ["flatten", "linear1", "relu1", "linear2", "relu2", "output"]);
    let resnet = names("resnet20");
    assert_eq!(resnet.len(), 3 + 9 * 7 + 2 * 2 + 2);
    assert_eq!(resnet.iter().filter(|name| name.ends_with("shortcut.conv")).count(), 2);
    assert!(resnet.contains(&"block4.shortcut.norm".to_string()));
    assert!(names("vit").contains(&"layer1.attention".to_string()));
}

#[test]
fn groups_of_a_residual_network_halve_the_image() {
    let report = report(&preset("resnet20", &[3, 33, 32])).unwrap();
    let output = |name: &str| report.nodes.iter().find(|node| node.name == name).unwrap().output.clone();
    assert_eq!(output("block3.relu2"), [16, 33, 32]);
    assert_eq!(output("block4.add"), [32, 17, 16]);
    assert_eq!(output("block7.shortcut.norm"), [64, 9, 8]);
    assert_eq!(output("mean"), [64]);
}

#[test]
fn sizes_that_do_not_suit_the_data_name_the_setting() {
    let mut model = ModelConfig { preset: "vit".to_string(), ..ModelConfig::default() };
    model.vit = VitSizes { patch: 5, ..model.vit };
    let error = refused(&model, &[1, 28, 28]);
    assert!(
        error.starts_with("model.vit.patch must be a size of which whole patches fill an image of 28 x 28"),
        "{error}"
    );
    for preset in ["conv_net", "lenet", "resnet20", "vit"] {
        let model = ModelConfig { preset: preset.to_string(), ..ModelConfig::default() };
        let error = refused(&model, &[13]);
        assert!(
            error.contains("model.preset must be mlp for the rows of a table") && error.contains(preset),
            "{error}"
        );
    }
    model.preset = "resnet".to_string();
    assert!(
        refused(&model, &[1, 28, 28])
            .contains("no network is called resnet; `hardgrad models` lists them; did you mean resnet20?")
    );
    model.preset = "conv_net".to_string();
    model.conv_net.channels = vec![65_536, 65_536];
    let error = refused(&model, &[1, 28, 28]);
    assert!(error.starts_with("model: ") && error.contains("parameters"), "{error}");
}

#[test]
fn a_network_of_ones_own_must_suit_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    let own = preset("lenet", &[3, 32, 32]);
    write_description(&path, &own).unwrap();
    let mut config = Config::default();
    config.set_model_file(&path);
    assert_eq!(describe(&config.model, &[3, 32, 32], 10).unwrap(), own);
    let error = refused(&config.model, &[1, 28, 28]);
    for words in ["my.toml: ", "[3, 32, 32]", "[1, 28, 28]", "set data.size = [32, 32] and data.channels = 3"] {
        assert!(error.contains(words), "{error}");
    }
    let error = describe(&config.model, &[3, 32, 32], 9).unwrap_err().to_string();
    assert!(error.contains("output, gives values of shape [10], the data have 9 classes"), "{error}");
    assert_eq!(check_file(&path).unwrap(), report(&own).unwrap());
}

#[test]
fn texts_that_describe_no_network_name_the_place() {
    let good = description_toml(&preset("lenet", &[1, 28, 28]));
    let refuse = |from: &str, to: &str| {
        assert!(good.contains(from), "{good}");
        let error = parse_description(&good.replacen(from, to, 1), "my.toml").unwrap_err().to_string();
        assert!(error.starts_with("my.toml") && !error.contains('\n'), "{error}");
        error
    };
    assert!(refuse("[input]", "[input").starts_with("my.toml:1: "));
    assert!(refuse("\"relu\"", "\"rely\"").contains("rely"));
    assert!(refuse("kernel = 5", "kernal = 5").contains("kernal"));
    assert!(refuse("kernel = 5", "kernel = \"five\"").contains("conv1"));
    assert!(refuse("kernel = 5", "kernel = 4_000_000_000_000").contains("conv1"));
    assert!(refuse("name = \"relu1\"", "name = \"conv1\"").contains("conv1"));
    assert!(refuse("name = \"relu1\"", "name = \"relu1\"\ninput = \"output\"").contains("relu1"));
    assert!(refuse("name = \"relu1\"", "name = \"relu1\"\ninput = \"nowhere\"").contains("nowhere"));
}

#[test]
fn presets_are_shown_for_the_embedded_data() {
    let config = Config::default().with_changes(&["model.resnet20.width=8".to_string()]).unwrap();
    let network = parse_description(&show("resnet20", &config, None).unwrap(), "x").unwrap();
    assert_eq!(network.input.shape, [1, 28, 28]);
    assert!(matches!(&network.nodes[0].op, Op::Conv2d(convolution) if convolution.channels == 8));
    assert!(show("resnet", &config, None).unwrap_err().is_usage());
}

/// The blocks of the document in this language.
fn blocks<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    let parts = document.split("```").skip(1).step_by(2);
    parts.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

#[test]
fn what_the_document_says_is_so() {
    let document = include_str!("../../../../docs/models.md");
    let examples: Vec<Description> =
        blocks(document, "toml").into_iter().map(|text| parse_description(text, "docs/models.md").unwrap()).collect();
    for (network, text) in examples.iter().zip(blocks(document, "toml")) {
        assert_eq!(description_toml(network), text);
    }
    // Quantisers come from rules; as nodes they stand in packed files alone.
    for kind in Op::KINDS.iter().filter(|kind| **kind != "quantize") {
        let row = document.lines().find(|line| line.starts_with(&format!("| `{kind}` |")));
        assert!(row.is_some(), "docs/models.md: no row of the operator {kind}");
        let shown = examples.iter().flat_map(|network| &network.nodes).any(|node| node.op.kind() == *kind);
        assert!(shown, "docs/models.md: no example has the operator {kind}");
    }
    let keys = crate::config::changes::keys(&Config::default());
    for preset in &PRESETS {
        let row = document.lines().find(|line| line.starts_with(&format!("| `{}` |", preset.name)));
        let row = row.unwrap_or_else(|| panic!("docs/models.md: no row of the preset {}", preset.name));
        for key in keys.iter().filter(|key| key.starts_with(&format!("model.{}.", preset.name))) {
            assert!(row.contains(&format!("`{key}`")), "docs/models.md: {key} is missing");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn any_text_gives_a_network_or_one_line(text in "[ -~\n]{0,200}") {
        if let Err(error) = parse_description(&text, "x") {
            prop_assert!(!error.to_string().contains('\n'), "{}", error);
        }
    }

    #[test]
    fn a_changed_description_gives_a_network_or_one_line(place in any::<prop::sample::Index>(), byte in 0x20u8..0x7f, vit in any::<bool>()) {
        let mut text = description_toml(&preset(if vit { "vit" } else { "lenet" }, &[1, 28, 28])).into_bytes();
        let place = place.index(text.len());
        text[place] = byte;
        match parse_description(&String::from_utf8_lossy(&text), "x") {
            Ok(network) => prop_assert!(report(&network).is_ok()),
            Err(error) => prop_assert!(!error.to_string().contains('\n'), "{}", error),
        }
    }
}
