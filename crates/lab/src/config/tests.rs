use hardgrad::quantize::RangeMethod;
use hardgrad_runtime::Description;

use super::*;

#[test]
fn the_printed_defaults_are_taken_back_unchanged_and_valid() {
    let config = Config::of_recipe("qat").unwrap();
    config.check().unwrap();
    assert_eq!(Config::from_toml(&config.to_toml(), "x").unwrap(), config);
}

#[test]
fn a_part_of_a_config_keeps_the_other_defaults() {
    let config = Config::from_toml("[training]\nbatch_size = 7\nweight_decay = 1", "x").unwrap();
    assert_eq!((config.training.batch_size, config.training.weight_decay), (7, 1.0));
    assert_eq!(config.model, Config::default().model);
}

#[test]
fn misspelt_keys_are_errors_with_the_nearest_known_key() {
    let error = Config::from_toml("[training]\nbatchsize = 7", "a.toml").unwrap_err().to_string();
    assert!(error.contains("a.toml") && error.contains("did you mean training.batch_size?"), "{error}");
    let change = |change: &str| Config::default().with_changes(&[change.to_string()]);
    let error = change("quantization.weigth_bits=3").unwrap_err().to_string();
    assert!(error.contains("did you mean quantization.weight_bits?"), "{error}");
    // The right key in no section at all.
    let error = change("weight_bits=3").unwrap_err().to_string();
    assert!(error.contains("did you mean quantization.weight_bits?"), "{error}");
    let error = Config::of_recipe("qta").unwrap_err().to_string();
    assert!(error.contains("did you mean qat?"), "{error}");
}

#[test]
fn changes_take_numbers_lists_and_bare_words() {
    let changes = [
        "model.conv_net.channels=[4, 8]",
        "quantization.weight_range=dorefa",
        "quantization.per_channel=false",
        "data.classes=[\"cat\", \"dog\"]",
        "data.size=[32, 24]",
        "training.keep=best",
    ];
    let config = Config::default().with_changes(&changes.map(String::from)).unwrap();
    assert_eq!(config.model.conv_net.channels, [4, 8]);
    assert_eq!((config.data.size.as_slice(), config.data.classes.len()), (&[32, 24][..], 2));
    assert_eq!(config.training.keep, Keep::Best);
    assert_eq!(config.quantization.weight_range, RangeMethod::Dorefa);
    config.check().unwrap();
}

#[test]
fn numbers_may_be_written_as_people_do() {
    let numbers =
        [(".001", 0.001), ("1.", 1.0), ("+.5", 0.5), ("-0.", 0.0), ("5e-4", 0.0005), (".2E-1", 0.02), ("1", 1.0)];
    for (text, expected) in numbers {
        let config = Config::default().with_changes(&[format!("training.weight_decay={text}")]).unwrap();
        assert_eq!(config.training.weight_decay, expected, "{text}");
    }
    // Words that Rust, too, reads as numbers stay words.
    let folder = Config::default().with_changes(&["data.directory=infinity".to_string()]).unwrap();
    assert_eq!(folder.data.directory, "infinity");
}

#[test]
fn a_trained_network_replaces_the_float_stage() {
    let mut config = Config::default();
    config.set_init_as_it_is(Path::new("runs/qat-1"));
    config.check().unwrap();
    assert_eq!((config.init_path().unwrap(), config.training.float_epochs), (PathBuf::from("runs/qat-1"), 0));
    let config = config.with_changes(&["training.quantized_epochs=0".to_string()]).unwrap();
    config.check().unwrap();
    assert_eq!(Config::from_toml(&config.to_toml(), "x").unwrap(), config);
}

#[test]
fn values_of_the_wrong_type_or_range_name_the_key() {
    let with = |change: &str| {
        let config = Config::default().with_changes(&[change.to_string()]);
        config.and_then(|config| config.check().map(|()| config)).unwrap_err().to_string()
    };
    for (change, word) in [
        ("quantization.rules=3", "quantization.rules must be a list"),
        ("quantization.rules=[{ nodes = \"*\", weight_bits = 9 }]", "nodes \"*\": quantization.rules must be 1 to 8"),
        ("quantization.rules=[{ nodes = \"*\", weight_range = \"wide\" }]", "got wide"),
        ("quantization.rules=[{ nodes = \"*\", weight_bit = 4 }]", "weight_bit"),
        ("quantization.weight_bits=0", "quantization.weight_bits must be 1 to 8, or 32 for float32, got 0"),
        ("quantization.weight_bits=33", "got 33"),
        ("quantization.activation_bits=\"four\"", "quantization.activation_bits must be a whole number"),
        ("training.float_learning_rate=0", "training.float_learning_rate must be above 0"),
        ("training=3", "training must be a section"),
        ("quantization.weight_range=pact", "quantization.weight_range"),
        ("quantization.weight_range=wide", "wide"),
        ("model.conv_net.kernel_size=4", "model.conv_net.kernel_size must be odd"),
        ("model.lenet.channels=[4]", "model.lenet.channels must be two whole numbers, got [4]"),
        ("model.resnet20.width=0", "model.resnet20.width must be whole numbers from 1 to 65536, got 0"),
        ("model.vit.heads=5", "model.vit.heads must be a divisor of model.vit.width, which is 192, got 5"),
        ("model.channels=[4]", "unknown key model.channels; did you mean model."),
        ("data.size=[32]", "data.size must be height and width"),
        ("data.size=[0.5, 1]", "data.size"),
        ("data.channels=2", "data.channels must be 1 (grey), 3 (colour) or 0"),
        ("data.validation=1", "data.validation must be from 0 to 0.9, got 1"),
        ("data.classes=[\"a\", \"a\"]", "data.classes must be names, each of them once, got \"a\""),
        ("data.classes=[1]", "data.classes"),
        ("training.keep=worst", "training.keep"),
        ("training.clip_norm=-1", "training.clip_norm must be from 0"),
        ("training.rename=names.txt", "training.rename must be empty where training.init is"),
        ("seed=-1", "seed must be a whole number of at least 0"),
        ("batch", "expected key=value"),
        ("seed=1\nfoo=2", "seed must be a whole number"),
        ("training.float_epochs=0", "training.float_epochs must be at least 1 where the network begins with random"),
        ("training.weight_decay=.", "training.weight_decay must be a number"),
        ("gradient.directions=0", "gradient.directions must be a whole number from 1 to 65535, got 0"),
        ("gradient.beta_min=1.5", "gradient.beta_min must be from 0 to 1, got 1.5"),
        ("gradient.epsilon=0", "gradient.epsilon must be above 0 and at most 1000, got 0"),
        ("gradient.begin=1", "gradient.begin must be at least 0 and below 1"),
        ("gradient.method=fogz", "fogzo"),
    ] {
        let error = with(change);
        assert!(error.contains(word) && !error.contains('\n'), "{change}: {error}");
    }
}

#[test]
fn what_looks_at_the_validation_data_needs_some() {
    let with = |changes: [&str; 2]| Config::default().with_changes(&changes.map(String::from)).unwrap();
    with(["training.keep=best", "training.patience=3"]).check().unwrap();
    for (change, word) in [("training.keep=best", "training.keep must be last"), ("training.patience=3", "got 3")] {
        let error = with(["data.validation=0", change]).check().unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("data.validation = 0"), "{error}");
    }
}

#[test]
fn rules_of_the_config_come_after_its_short_forms() {
    let text = "[quantization]\nweight_bits = 3\n[[quantization.rules]]\nnodes = \"block1.*\"\nweight_bits = 4\nfixed_scale = 1\n";
    let config = Config::from_toml(text, "x").unwrap();
    config.check().unwrap();
    assert_eq!(Config::from_toml(&config.to_toml(), "x").unwrap(), config);
    let rules = config.quantization.rules("conv1", "output");
    let bits = |node: &str| merged(&rules, node).weight_bits;
    assert_eq!(
        (bits("conv1"), bits("conv2"), bits("block1.conv1"), bits("output")),
        (Some(8), Some(3), Some(4), Some(8))
    );
    let all = merged(&rules, "block1.conv1");
    assert_eq!((all.activation_bits, all.weight_range.as_deref(), all.fixed_scale), (Some(2), Some("lsq"), Some(1.0)));
    // One layer is the first and the last; it is an output before all.
    let quantization = QuantizationConfig { first_layer_bits: 5, last_layer_bits: 6, ..QuantizationConfig::default() };
    let text =
        r#"{"input":{"shape":[4]},"node":[{"name":"relu","op":"relu"},{"name":"one","op":"linear","outputs":2}]}"#;
    let description: Description = serde_json::from_str(text).unwrap();
    assert_eq!(merged(&quantization.rules_for(&description), "one").weight_bits, Some(6));
}

#[test]
fn values_of_a_file_that_are_out_of_range_name_the_file() {
    let error = Config::from_toml("[training]\nbatch_size = 1\n", "a.toml").unwrap_err().to_string();
    assert_eq!(error, "a.toml: training.batch_size must be a whole number from 2 to 65536, got 1");
    let error = Config::default().with_toml("[gradient]\nepsilon = 0\n", "a.toml").unwrap_err().to_string();
    assert!(error.starts_with("a.toml: gradient.epsilon"), "{error}");
    // What only goes wrong together may still be mended by what comes after the file.
    let config = Config::from_toml("[training]\nfloat_epochs = 0\n", "a.toml").unwrap();
    assert!(config.check().is_err());
    config.with_changes(&["training.init=runs/qat-1".to_string()]).unwrap().check().unwrap();
}

#[test]
fn the_request_for_the_data_says_what_the_settings_say() {
    let request = Config::default().data_request();
    assert_eq!((request.size, request.channels, request.label), (None, None, None));
    let changes = ["data.size=[8, 9]", "data.channels=3", "data.label=kind", "seed=7"];
    let request = Config::default().with_changes(&changes.map(String::from)).unwrap().data_request();
    assert_eq!((request.size, request.channels), (Some([8, 9]), Some(3)));
    assert_eq!(request.label.as_deref(), Some("kind"));
}
