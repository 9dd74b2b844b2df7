"""Which engine answers: the fleet, its health, and a bounded queue for a place."""

from gateway.routing.fleet import Fleet, Place
from gateway.routing.member import Member
from gateway.routing.watcher import FleetWatcher

__all__ = ["Fleet", "FleetWatcher", "Member", "Place"]
