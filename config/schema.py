"""Every setting of the gateway and the engine: its name, type, default, bounds and one sentence on what it does.

A description is what the README's table prints, so it is written for the person who sets it.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from config.fields import Group, Names, Port, Seconds, Words, parse_list
from config.issuers import IssuerSettings
from config.responses import ResponsesSettings
from config.routing import RoutingSettings
from config.sessions import SessionsSettings
from config.telemetry import TelemetrySettings


def _off_where_yaml_says_false(value: Any) -> Any:
    """YAML 1.1 reads a bare `off` as false."""
    return "off" if value is False else value


class ServerSettings(Group):
    """The gateway's own HTTP server."""

    host: str = Field("127.0.0.1", description="Address the gateway listens on; 0.0.0.0 in images.")
    port: Port = Field(8000, description="Port the gateway listens on; 0 takes a free one. Short alias: `PORT`.")
    processes: int = Field(1, ge=1, le=64, description="Gateways that share the port, each with a core to itself.")
    reuse_port: bool = Field(False, description="Let other gateways of this user listen on the same port.")
    cors_origins: Words = Field((), description="Origins that browsers may call from; `*` for any; empty: none.")
    trusted_hosts: Words = Field(
        ("*",), description="Host names the gateway answers to (`*.example.org` works); health paths are exempt."
    )
    trusted_proxies: Words = Field(
        (), description="Networks (`10.0.0.0/8`) of proxies whose `X-Forwarded-For` is believed; empty: nobody's."
    )
    max_body_bytes: int = Field(10_485_760, ge=1024, description="Largest request body; a larger one is 413.")
    body_timeout_seconds: Seconds = Field(30.0, description="How long a client may take to send its body.")
    drain_seconds: Seconds = Field(60.0, description="How long running requests may go on after SIGTERM.")
    keep_alive_seconds: int = Field(75, ge=1, description="How long an idle client connection is kept.")
    chat_page: bool = Field(
        True, description="Browsers get the chat page at `/` and the operations view at `/console`; off: neither."
    )


class EngineProfile(StrEnum):
    """Which model the engine serves, and on what."""

    AUTO = "auto"
    GPU = "gpu"
    CPU = "cpu"
    DEMO = "demo"


class EngineSettings(Group):
    """The vLLM process and its supervisor."""

    profile: EngineProfile = Field(
        EngineProfile.AUTO, description="`gpu`, `cpu`, `demo`, or `auto`: gpu where a GPU is, else demo."
    )
    model: str = Field(
        "google/gemma-3n-E4B-it",
        description="Model id or folder; `demo` is the small model that comes with the package.",
    )
    revision: str = Field("", description="Commit, tag or branch of the model; empty: the newest of its main branch.")
    served_model_name: str = Field("gemma-3n", description="Name that clients ask for.")
    host: str = Field("127.0.0.1", description="Address vLLM listens on. It asks for no credential: keep it private.")
    port: Port = Field(8100, description="Port vLLM listens on.")
    status_port: Port = Field(8101, description="Port of the supervisor's `/livez`, `/readyz` and `/metrics`.")
    dtype: str = Field("bfloat16", description="Number format of the weights.")
    quantization: str = Field("", description="vLLM's `--quantization`; empty: what the checkpoint says.")
    max_model_len_tokens: int = Field(32_768, ge=16, description="Context length, prompt and answer together.")
    max_num_seqs: int = Field(256, ge=1, description="Requests generated at once; more wait in vLLM's queue.")
    max_queued_requests: int = Field(
        0, ge=0, description="vLLM refuses above this many waiting + running requests; 0: twice max_num_seqs."
    )
    max_queued_tokens: int = Field(
        0, ge=0, description="vLLM refuses above this many prompt tokens without a first token; 0: 4 × max_model_len."
    )
    gpu_memory_utilization: float = Field(0.92, gt=0, le=1, description="Share of the GPU's memory vLLM may take.")
    cpu_kv_cache_gib: int = Field(1, ge=1, description="Memory for the KV cache on a CPU.")
    max_images: int = Field(1, ge=0, description="Images in one conversation; 0 (as in the demo profile): none taken.")
    max_audios: int = Field(0, ge=0, description="Audio clips in one conversation; 0: none taken, no tower loaded.")
    hf_token: SecretStr = Field(SecretStr(""), description="Hugging Face token for gated models. Alias: `HF_TOKEN`.")
    extra_args: Words = Field((), description="Further arguments for vLLM, appended as they are.")
    command: Words = Field((), description="Run this instead of vLLM; it must speak vLLM's HTTP API on engine.port.")
    startup_timeout_seconds: Seconds = Field(900.0, description="How long loading may take before it is a failure.")
    shutdown_timeout_seconds: Seconds = Field(30.0, description="How long running requests may go on at SIGTERM.")
    hang_seconds: Seconds = Field(120.0, description="Running requests without an engine step for this long: hung.")
    restart_initial_seconds: Seconds = Field(1.0, description="Wait before the first restart; doubles each time.")
    restart_max_seconds: Seconds = Field(60.0, description="Longest wait before a restart.")
    restart_budget: int = Field(5, ge=0, description="Restarts allowed within restart_window_seconds; then exit 1.")
    restart_window_seconds: Seconds = Field(900.0, description="The window that restart_budget counts in.")

    @property
    def queued_requests_bound(self) -> int:
        """Waiting and running requests that vLLM takes; the gateway's own limit is the same unless it is set."""
        return self.max_queued_requests or 2 * self.max_num_seqs

    @property
    def queued_tokens_bound(self) -> int:
        """Prompt tokens without a first token that vLLM takes."""
        return self.max_queued_tokens or 4 * self.max_model_len_tokens


class RedisSettings(Group):
    """Where sessions, limits and keys live."""

    url: SecretStr = Field(
        SecretStr(""),
        description="redis://, rediss:// or unix:// URL, of a cluster any node's; empty: `serve` starts its own Redis.",
    )
    password: SecretStr = Field(
        SecretStr(""),
        description="Password, as it is, where redis.url has none; in a URL it has to be percent-encoded.",
    )
    sentinels: Words = Field(
        (),
        description="Sentinels, as `host:port`, over TLS where redis.url is; its host is then the master's name.",
    )
    sentinel_password: SecretStr = Field(
        SecretStr(""), description="What the Sentinels themselves ask for, if they do."
    )
    timeout_seconds: Seconds = Field(0.1, description="Longest wait for an answer before Redis counts as away.")
    connect_timeout_seconds: Seconds = Field(0.5, description="Longest wait for a connection.")
    breaker_seconds: Seconds = Field(1.0, description="After a failure, how long calls fail at once before a new try.")


class AuthMode(StrEnum):
    """Whether callers must say who they are."""

    REQUIRED = "required"
    OFF = "off"


class AuthSettings(Group):
    """Who may call."""

    mode: Annotated[AuthMode, BeforeValidator(_off_where_yaml_says_false)] = Field(
        AuthMode.REQUIRED, description="`required`, or `off` (only on a loopback address)."
    )
    allow_off_on_any_address: bool = Field(False, description="Second switch for `auth.mode: off` off loopback.")
    api_key: SecretStr = Field(
        SecretStr(""), description="A fixed API key (tenant local, scope admin). Alias: `GATEWAY_API_KEY`."
    )
    jwt_secret: SecretStr = Field(
        SecretStr(""),
        description="Secret of the gateway's own tokens (HS256), at least 32 bytes; empty: derived from the local key.",
    )
    jwt_issuer: str = Field("gemma-gateway", description="`iss` of the gateway's own tokens.")
    jwt_audience: str = Field("gemma-gateway", description="`aud` of the gateway's own tokens.")
    jwt_leeway_seconds: float = Field(
        10.0, ge=0, description="Clock difference forgiven in the `exp` and `nbf` of these."
    )
    jwt_ttl_seconds: Seconds = Field(
        1800.0, description="Lifetime of tokens that the gateway or `gemma-gateway token` makes."
    )
    failed_attempts_per_minute: int = Field(
        60, ge=0, description="Bad credentials an address may show; then they are 429. Good ones pass. 0: no limit."
    )
    revocation_seconds: Seconds = Field(
        2_678_400.0, description="How long a revocation is kept where the token's end is not known: 31 days."
    )
    issuers: Annotated[tuple[IssuerSettings, ...], NoDecode, BeforeValidator(parse_list)] = Field(
        (), description="Further issuers of tokens; see [Tokens of other issuers](#tokens-of-other-issuers)."
    )
    tenants_file: str = Field(
        "", description="YAML file with tiers and tenants, such as `config/tenants.yaml`; empty: `limits` hold for all."
    )


class RedisDownPolicy(StrEnum):
    """What limits do while Redis is away."""

    DEGRADED = "degraded"
    CLOSED = "closed"


class LimitsSettings(Group):
    """How much a user may ask for, unless its tier says otherwise, and what is written down of it."""

    requests_per_minute: int = Field(60, ge=0, description="Token bucket per user; 0: no limit.")
    requests_per_hour: int = Field(1000, ge=0, description="Token bucket per user; 0: no limit.")
    tokens_per_minute: int = Field(
        0, ge=0, description="Token bucket per user, of prompts and answers together; 0: no limit."
    )
    tokens_per_day: int = Field(0, ge=0, description="Likewise for a day; 0: no limit.")
    concurrent_requests: int = Field(0, ge=0, description="A user's requests that may run or wait at once; 0: any.")
    # Gateways renew their leases once a second at the most: a shorter one would end between two renewals.
    lease_seconds: float = Field(
        30.0, ge=3, le=3600, description="A dead gateway's concurrent requests are free again after this long."
    )
    usage_retention_days: int = Field(
        90, ge=0, description="How long each day's usage is kept for `/v1/usage` and `/admin/usage`; 0: none is."
    )
    on_redis_down: RedisDownPolicy = Field(
        RedisDownPolicy.DEGRADED,
        description="`degraded`: each gateway counts for itself meanwhile; `closed`: 503.",
    )


class UnknownFields(StrEnum):
    """What becomes of a field that no table has."""

    REFUSE = "refuse"
    DROP = "drop"


class PromptSettings(Group):
    """What is accepted and what is sent when the client leaves it out."""

    default_max_tokens: int = Field(1024, ge=1, description="Answer length when the client gives none.")
    default_temperature: float | None = Field(None, ge=0, le=2, description="Temperature when the client gives none.")
    default_top_p: float | None = Field(None, gt=0, le=1, description="top_p when the client gives none.")
    default_top_k: int | None = Field(None, ge=-1, description="top_k when the client gives none.")
    max_output_tokens: int = Field(8192, ge=1, description="Largest max_tokens a client may ask for.")
    max_messages: int = Field(2048, ge=1, description="Messages in one request; more is 400.")
    max_choices: int = Field(4, ge=1, description="Most choices of a request: `n` for each of its prompts.")
    unknown_fields: UnknownFields = Field(
        UnknownFields.REFUSE, description="Fields that nobody knows: `refuse` with 400, or `drop` without a word."
    )
    model_aliases: Names = Field(
        {}, description="Further names of models, as in `gpt-4o-mini: gemma-3n`; in a variable as JSON."
    )
    normalise: bool = Field(
        True, description="Make messages fit Gemma's template and its control tokens harmless; off for other models."
    )
    media_hosts: Words = Field(
        (), description="Hosts that the engine may fetch images from, by https; empty: none. Audio is never fetched."
    )
    max_media_bytes: int = Field(5_242_880, ge=1024, description="Largest image or audio clip, decoded; more is 400.")
    max_image_pixels: int = Field(16_777_216, ge=1, description="Largest image, width by height; more is 400.")
    max_audio_seconds: float = Field(
        30.0, gt=0, le=30, description="Longest audio clip; more is 400, as Gemma 3n hears no more than 30 s."
    )
    cache_salt_secret: SecretStr = Field(
        SecretStr(""),
        description="Keeps tenants apart in the prefix cache; give all gateways the same. Empty: the local key.",
    )


class StreamSettings(Group):
    """Time-outs of answers, streamed or not."""

    first_ping_seconds: Seconds = Field(10.0, description="A stream without an event for this long gets `: ping`.")
    ping_seconds: Seconds = Field(15.0, description="Time between further pings while nothing comes.")
    headers_timeout_seconds: Seconds = Field(600.0, description="Longest wait for an engine's first byte.")
    idle_timeout_seconds: Seconds = Field(120.0, description="Longest silence of an engine within an answer.")
    total_timeout_seconds: Seconds = Field(3600.0, description="Longest answer, from sending to the last byte.")
    client_timeout_seconds: Seconds = Field(
        60.0, description="Longest wait for a client to take what was sent to it; then its request is ended."
    )
    max_answer_bytes: int = Field(33_554_432, ge=1024, description="Largest non-streamed answer of an engine.")


class Settings(Group):
    """All of it. Build one directly in tests; `config.load_settings` reads the sources."""

    server: ServerSettings = Field(default_factory=ServerSettings)
    engine: EngineSettings = Field(default_factory=EngineSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    auth: AuthSettings = Field(default_factory=AuthSettings)
    limits: LimitsSettings = Field(default_factory=LimitsSettings)
    sessions: SessionsSettings = Field(default_factory=SessionsSettings)
    responses: ResponsesSettings = Field(default_factory=ResponsesSettings)
    routing: RoutingSettings = Field(default_factory=RoutingSettings)
    prompt: PromptSettings = Field(default_factory=PromptSettings)
    stream: StreamSettings = Field(default_factory=StreamSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    data_dir: Path = Field(
        Path.home() / ".local/share/gemma-gateway",
        description="Folder for the local key, logs, sockets and Redis's files. Alias: `GEMMA_DATA_DIR`.",
    )
