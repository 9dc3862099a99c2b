use hardgrad::zeroth_order::MethodName;

use crate::Config;
use crate::config::ConfigError;

/// Fails where quantisation or guidance would not begin before a quantised stage of so many steps ends.
pub(super) fn quantized_steps(config: &Config, steps: u64) -> Result<(), ConfigError> {
    let range = |key, expected: String, found: String| Err(ConfigError::Range { key, expected, found });
    if steps == 0 && config.gradient.method != MethodName::StraightThrough {
        let expected = "straight_through where no quantised step is trained".to_string();
        return range("gradient.method", expected, config.gradient.method.name().to_string());
    }
    if steps > 0 && config.gradient.first_step(steps) >= steps {
        let expected = format!("such that guidance begins before the {steps} steps of the quantised stage are over");
        return range("gradient.begin", expected, config.gradient.begin.to_string());
    }
    let delay = config.quantization.delay;
    if delay == 0 || delay < steps {
        return Ok(());
    }
    let expected = match steps {
        0 => "0 where no quantised step is trained".to_string(),
        steps => format!("below {steps}, the steps of the quantised stage"),
    };
    range("quantization.delay", expected, delay.to_string())
}
