//! The closed sets of the published schemas, each with the default that stands for a symbol unknown to this binary.

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? } default $default:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* #[doc = concat!("Written `", $text, "`.")] $variant),+ }

        impl $name {
            /// Every symbol, in the order of the published schema, which only ever grows at its end.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The symbol as it is published.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }

            /// Reads a published symbol; `None` for one that this binary does not know.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some($name::$variant),)+ _ => None }
            }

            /// The symbol at an index of the published schema.
            #[must_use]
            pub fn from_index(index: usize) -> Option<Self> {
                Self::ALL.get(index).copied()
            }
        }

        impl Default for $name {
            fn default() -> Self { $name::$default }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names!(/// Where an event happened.
Channel { Unknown = "unknown", Web = "web", Mobile = "mobile", Voice = "voice", Social = "social", Chat = "chat",
    Email = "email", Messaging = "messaging", Sms = "sms", SelfService = "self_service", Store = "store",
    Video = "video", Business = "business", Agent = "agent", System = "system" } default Unknown);

names!(/// What an identifier identifies.
IdentifierKind { Other = "other", Key = "key", Customer = "customer", Contract = "contract", Phone = "phone",
    Email = "email", Device = "device", Social = "social", Agent = "agent" } default Other);

impl IdentifierKind {
    /// The strength that orders identifiers, 1 the strongest; `None` for kinds that are never ranked.
    #[must_use]
    pub const fn strength(self) -> Option<u8> {
        match self {
            Self::Customer => Some(1),
            Self::Contract => Some(2),
            Self::Phone => Some(3),
            Self::Email => Some(4),
            Self::Device => Some(5),
            Self::Social => Some(6),
            Self::Other => Some(7),
            Self::Key | Self::Agent => None,
        }
    }

    /// The letter that begins a customer key of this kind; `None` for `key`, which is one already.
    #[must_use]
    pub const fn letter(self) -> Option<char> {
        match self {
            Self::Customer => Some('c'),
            Self::Contract => Some('k'),
            Self::Phone => Some('p'),
            Self::Email => Some('e'),
            Self::Device => Some('d'),
            Self::Social => Some('s'),
            Self::Other => Some('o'),
            Self::Agent => Some('a'),
            Self::Key => None,
        }
    }
}

names!(/// Who wrote or spoke a text.
Role { Unknown = "unknown", Customer = "customer", Agent = "agent", Bot = "bot", System = "system" } default Unknown);

names!(/// How a text came about.
Modality { Unknown = "unknown", Text = "text", Transcript = "transcript", VoiceTone = "voice_tone" } default Unknown);

names!(/// The polarity of a text. `Unscored` is not `Neutral`: nothing was measured.
Label { Unscored = "unscored", Negative = "negative", Neutral = "neutral", Positive = "positive" } default Unscored);

names!(/// What told the language of a text.
LangSource { None = "none", Hint = "hint", Journey = "journey", Detect = "detect" } default None);

names!(/// Which kind of model scored a text.
Tier { Unknown = "unknown", Lexicon = "lexicon", Linear = "linear", Transformer = "transformer" } default Unknown);

names!(/// The state of a consent.
ConsentStatus { Unknown = "unknown", Granted = "granted", Denied = "denied" } default Unknown);

names!(/// Whether a pattern acts or only watches.
Mode { Unknown = "unknown", Live = "live", Shadow = "shadow" } default Unknown);

names!(/// Where a customer stands in the life of a purchase or contract.
Phase { Unknown = "unknown", Evaluation = "evaluation", Purchase = "purchase", Onboarding = "onboarding",
    Service = "service", Loyalty = "loyalty" } default Unknown);

names!(/// Why an intervention was decided against.
WithheldReason { Unknown = "unknown", NoConsent = "no_consent", Shadow = "shadow", Holdout = "holdout",
    Rollout = "rollout", Cooldown = "cooldown", FrequencyCap = "frequency_cap", QuietHours = "quiet_hours",
    ConversationOpen = "conversation_open", AlreadyPending = "already_pending", NoChannel = "no_channel",
    NoCapacity = "no_capacity", Superseded = "superseded", Expired = "expired" } default Unknown);

names!(/// What an intervention record asks for.
Action { Unknown = "unknown", Start = "start", Cancel = "cancel" } default Unknown);

names!(/// The channels that can carry an intervention.
OutChannel { Unknown = "unknown", Chat = "chat", Web = "web", Voice = "voice", Email = "email", Sms = "sms",
    Social = "social", Desktop = "desktop", Csm = "csm" } default Unknown);

names!(/// What an intervention does to the customer; none restricts one.
Effect { Unknown = "unknown", Assist = "assist", Offer = "offer" } default Assist);

names!(/// The arm of the experiment that a customer is in.
Arm { Unknown = "unknown", Treatment = "treatment", Holdout = "holdout", Shadow = "shadow",
    Rollout = "rollout" } default Unknown);

names!(/// Where a customer's mood is going.
TrendLabel { Unknown = "unknown", Declining = "declining", SlightlyDeclining = "slightly_declining",
    Steady = "steady", SlightlyImproving = "slightly_improving", Improving = "improving" } default Unknown);

names!(/// The rank of a customer's value among all customers.
Band { Unknown = "unknown", Low = "low", Medium = "medium", High = "high" } default Unknown);

names!(/// What became of a promise.
PromiseStatus { Unknown = "unknown", Open = "open", Kept = "kept", Broken = "broken",
    Released = "released" } default Unknown);

names!(/// The life of an intervention.
InterventionState { Unknown = "unknown", Created = "created", Delivered = "delivered", Shown = "shown",
    Accepted = "accepted", Declined = "declined", Ignored = "ignored", Expired = "expired",
    Cancelled = "cancelled", Failed = "failed", Handled = "handled", Withheld = "withheld" } default Unknown);
