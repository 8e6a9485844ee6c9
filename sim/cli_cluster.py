"""The options about what happens around the replicas; every command that simulates has them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from sim.cli_options import decimal, whole
from sim.options import OptionError

if TYPE_CHECKING:
    from sim.cluster.autoscale import Autoscale
    from sim.cluster.clients import Clients
    from sim.cluster.failures import Failures, OnFailure
    from sim.cluster.tenants import Tenants

CLUSTER = "Cluster: routing, failures, scaling"
CLIENTS = "Clients: patience, retries, closed loop, tenants"

SCALING = (
    *("autoscale", "max_replicas", "min_replicas", "scale_interval_s"),
    *("up_cooldown_s", "down_cooldown_s"),
)
"""The fields about autoscaling."""


def _number(panel: str, text: str, default: str | None = None) -> Any:
    return typer.Option(
        parser=decimal, metavar="X", help=text, show_default=default or False, rich_help_panel=panel
    )


def _count(panel: str, text: str, least: int, default: str | None = None) -> Any:
    return typer.Option(
        parser=whole(least),
        metavar="N",
        help=text,
        show_default=default or False,
        rich_help_panel=panel,
    )


def _text(panel: str, metavar: str, text: str, default: str | None = None) -> Any:
    return typer.Option(
        metavar=metavar, help=text, show_default=default or False, rich_help_panel=panel
    )


@dataclass(frozen=True)
class ClusterFlags:
    """What a user said of the cluster; None where nothing was said."""

    router: Annotated[
        str | None,
        _text(
            CLUSTER,
            "ROUTER",
            "round-robin, random, power-of-two, least-requests, least-tokens, sla-slack, "
            '"affinity(key=session)", "pools(\'a:2, b:1\')" or module:object.',
            "round-robin",
        ),
    ] = None
    prefix_caching: Annotated[
        bool,
        typer.Option(
            "--prefix-caching",
            help="Share the KV blocks of prompts that begin alike; the trace needs hash_ids or "
            "sessions.",
            rich_help_panel=CLUSTER,
        ),
    ] = False
    failures: Annotated[
        str | None,
        _text(
            CLUSTER,
            "FAILURES",
            '"at(120, replica=0, for_s=60)", "drain(300, replica=1, for_s=60)", '
            '"random(mtbf_s=3600, repair_s=300)" or several with commas.',
        ),
    ] = None
    on_failure: Annotated[
        str | None,
        _text(
            CLUSTER,
            "lost|retry|failover",
            "What becomes of the requests a failing replica holds: gone, tried again by their "
            "clients (see --retries), or sent on by the router.",
            "retry",
        ),
    ] = None
    startup_s: Annotated[
        float | None,
        _number(CLUSTER, "From the start of a replica until it takes requests (s).", "0"),
    ] = None
    autoscale: Annotated[
        str | None,
        _text(
            CLUSTER,
            "SCALER",
            '"utilisation(0.6)", "queue(4)", "goodput(0.95)", "schedule(...)" or module:object.',
        ),
    ] = None
    max_replicas: Annotated[int | None, _count(CLUSTER, "Most replicas of --autoscale.", 1)] = None
    min_replicas: Annotated[
        int | None, _count(CLUSTER, "Fewest replicas of --autoscale.", 0, "1")
    ] = None
    scale_interval_s: Annotated[
        float | None, _number(CLUSTER, "Seconds between looks of --autoscale.", "15")
    ] = None
    up_cooldown_s: Annotated[
        float | None, _number(CLUSTER, "No further start for so long after one (s).", "0")
    ] = None
    down_cooldown_s: Annotated[
        float | None, _number(CLUSTER, "No further stop for so long after one (s).", "300")
    ] = None
    timeout_s: Annotated[
        float | None, _number(CLIENTS, "Clients hang up after so long (s).", "never")
    ] = None
    retries: Annotated[
        int | None,
        _count(CLIENTS, "Tries after a time-out, a failure or a refusal by the policy.", 0, "0"),
    ] = None
    backoff_s: Annotated[
        float | None, _number(CLIENTS, "Pause before the first retry, then doubled (s).", "1")
    ] = None
    cancel_after: Annotated[
        str | None,
        _text(
            CLIENTS,
            "SECONDS|DRAW",
            'Users keep typing after so long, and the request is dropped: "exponential(2)", '
            '"lognormal(mean=2, cv=1)".',
            "never",
        ),
    ] = None
    cancel_on_next: Annotated[
        bool,
        typer.Option(
            "--cancel-on-next",
            help="A request is dropped when the next of its session arrives.",
            rich_help_panel=CLIENTS,
        ),
    ] = False
    cancel_tasks: Annotated[
        str | None, _text(CLIENTS, "TASK,...", "Only requests of these tasks are dropped.", "all")
    ] = None
    users: Annotated[
        int | None,
        _count(
            CLIENTS,
            "Closed loop: so many users take turns with the requests, each waiting for its "
            "answer; arrival times are not used.",
            1,
        ),
    ] = None
    think: Annotated[
        str | None,
        _text(
            CLIENTS,
            "SECONDS|DRAW",
            'Pause after an answer, with --users or --await-parent: "exponential(20)".',
            "0",
        ),
    ] = None
    await_parent: Annotated[
        bool,
        typer.Option(
            "--await-parent",
            help="A turn of a session waits for the end of the turn it follows.",
            rich_help_panel=CLIENTS,
        ),
    ] = False
    tenant_shares: Annotated[
        str | None,
        _text(CLIENTS, "NAME=X,...", "Shares of --tenant-max-requests, by tenant of the trace."),
    ] = None
    tenant_max_requests: Annotated[
        int | None,
        _count(CLIENTS, "Requests the named tenants may have in the cluster; above, refused.", 1),
    ] = None

    def options(self) -> dict[str, Any]:
        """Return the fields of `RunOptions` that were given.

        Raises
        ------
        OptionError, PolicyError
            For what cannot be meant, and for an option without effect.
        """
        from sim.cli_inputs import look_here

        look_here()
        found: dict[str, Any] = {
            "prefix_caching": self.prefix_caching,
            "failures": self._failures(),
            "clients": self._clients(),
            "autoscale": self._autoscale(),
            "tenants": self._tenants(),
        }
        if self.router is not None:
            from policies.routers import make_router

            make_router(self.router)  # refuse it now; the text stays, others can make it anew
            found["router"] = self.router
        if self.startup_s is not None:
            found["startup_s"] = self.startup_s
        return found

    def _failures(self) -> "Failures | None":
        if self.failures is None:
            self._refuse("failures", "on_failure")
            return None
        from sim.cluster.failures import parse_failures

        return parse_failures(self.failures, cast("OnFailure", self.on_failure or "retry"))

    def _autoscale(self) -> "Autoscale | None":
        names = SCALING[1:]
        if self.autoscale is None:
            self._refuse("autoscale", *names)
            return None
        if self.max_replicas is None:
            raise OptionError(
                f"--autoscale {self.autoscale!r} needs a bound: expected --max-replicas N"
            )
        from policies.scalers import make_scaler
        from sim.cluster.autoscale import Autoscale

        given = self._given(*names)
        if "scale_interval_s" in given:
            given["interval_s"] = given.pop("scale_interval_s")
        return Autoscale(make_scaler(self.autoscale), **given)

    def _clients(self) -> "Clients | None":
        if not self.retries:
            self._refuse("retries", "backoff_s")
        given = self._given("timeout_s", "retries", "backoff_s", "cancel_after", "users", "think")
        if self.cancel_tasks is not None:
            given["cancel_tasks"] = tuple(task.strip() for task in self.cancel_tasks.split(","))
        given |= {name: True for name in ("cancel_on_next", "await_parent") if getattr(self, name)}
        if not given:
            return None
        from sim.cluster.clients import Clients

        return Clients(**given)

    def _tenants(self) -> "Tenants | None":
        if self.tenant_shares is None or self.tenant_max_requests is None:
            self._refuse("tenant_shares", "tenant_max_requests")
            self._refuse("tenant_max_requests", "tenant_shares")
            return None
        from sim.cluster.tenants import Tenants, parse_shares

        return Tenants(parse_shares(self.tenant_shares), self.tenant_max_requests)

    def _given(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def _refuse(self, needed: str, *names: str) -> None:
        """Raise OptionError for one of `names` that was given without what it belongs to."""
        for name in names:
            if getattr(self, name) is not None:
                raise OptionError(
                    f"--{name.replace('_', '-')} {getattr(self, name)} has no effect without "
                    f"--{needed.replace('_', '-')}: give both or none"
                )
