//! Two small networks, written once and made twice: with burn's norms and with those of this package.

/// A module of networks with the norms of a path.
macro_rules! networks {
    ($name:ident, $($norms:ident)::+) => {
        pub mod $name {
            use burn::config::Config;
            use burn::module::Module;
            use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
            use burn::nn::conv::{Conv2d, Conv2dConfig};
            use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
            use burn::tensor::activation::{gelu, relu};
            use burn::tensor::{Device, Tensor};
            // The line that differs.
            use $($norms)::+::{
                BatchNorm, BatchNormConfig, GroupNorm, GroupNormConfig, InstanceNorm, InstanceNormConfig, LayerNorm,
                LayerNormConfig, RmsNorm, RmsNormConfig,
            };

            #[derive(Config, Debug)]
            pub struct TransformerConfig {
                pub layers: usize,
                pub width: usize,
                pub heads: usize,
            }

            #[derive(Module, Debug)]
            pub struct Transformer {
                blocks: Vec<Block>,
                norm: RmsNorm,
                head: Linear,
            }

            #[derive(Module, Debug)]
            struct Block {
                attention_norm: LayerNorm,
                attention: MultiHeadAttention,
                mlp_norm: LayerNorm,
                up: Linear,
                down: Linear,
            }

            impl TransformerConfig {
                pub fn init(&self, device: &Device) -> Transformer {
                    let Self { layers, width, heads } = *self;
                    let block = || Block {
                        attention_norm: LayerNormConfig::new(width).init(device),
                        attention: MultiHeadAttentionConfig::new(width, heads).with_dropout(0.0).init(device),
                        mlp_norm: LayerNormConfig::new(width).init(device),
                        up: LinearConfig::new(width, 4 * width).init(device),
                        down: LinearConfig::new(4 * width, width).init(device),
                    };
                    Transformer {
                        blocks: (0..layers).map(|_| block()).collect(),
                        norm: RmsNormConfig::new(width).init(device),
                        head: LinearConfig::new(width, width).init(device),
                    }
                }
            }

            impl Transformer {
                /// Takes and gives `[batch, length, width]`.
                pub fn forward(&self, input: Tensor<3>) -> Tensor<3> {
                    let mut x = input;
                    for block in &self.blocks {
                        let normalized = block.attention_norm.forward(x.clone());
                        x = x + block.attention.forward(MhaInput::self_attn(normalized)).context;
                        let normalized = block.mlp_norm.forward(x.clone());
                        x = x + block.down.forward(gelu(block.up.forward(normalized)));
                    }
                    self.head.forward(self.norm.forward(x))
                }
            }

            #[derive(Config, Debug)]
            pub struct ResNetConfig {
                pub channels: usize,
            }

            #[derive(Module, Debug)]
            pub struct ResNet {
                stem: Conv2d,
                stem_norm: BatchNorm,
                conv: Conv2d,
                conv_norm: GroupNorm,
                other: Conv2d,
                other_norm: InstanceNorm,
                last_norm: BatchNorm,
            }

            impl ResNetConfig {
                pub fn init(&self, device: &Device) -> ResNet {
                    let channels = self.channels;
                    let conv = |from| {
                        Conv2dConfig::new([from, channels], [3, 3]).with_padding(PaddingConfig2d::Same).init(device)
                    };
                    ResNet {
                        stem: conv(3),
                        stem_norm: BatchNormConfig::new(channels).init(device),
                        conv: conv(channels),
                        conv_norm: GroupNormConfig::new(4, channels).init(device),
                        other: conv(channels),
                        other_norm: InstanceNormConfig::new(channels).init(device),
                        last_norm: BatchNormConfig::new(channels).init(device),
                    }
                }
            }

            impl ResNet {
                /// Takes `[batch, 3, height, width]`, gives `[batch, channels, height, width]`.
                pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
                    let x = relu(self.stem_norm.forward(self.stem.forward(input)));
                    let x = x.clone() + relu(self.conv_norm.forward(self.conv.forward(x)));
                    let x = x.clone() + relu(self.other_norm.forward(self.other.forward(x)));
                    self.last_norm.forward(x)
                }
            }
        }
    };
}

networks!(with_burn, burn::nn);
networks!(with_ours, wgpu_norm_burn);
