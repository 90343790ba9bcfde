"""What a job itself asks of the device that it runs on."""

from __future__ import annotations

from collections.abc import Mapping

from jetsched.records import Device, DeviceClass, Job, Never


def unmet_needs(job: Job, device: Device) -> Never | None:
    """Why the job's own wishes rule the device out; None if they do not."""
    needs = job.needs
    if not device.named_by(needs):
        return Never("EnvMissing", f"the job asks for {' or '.join(needs.device)}")
    if needs.memory_mib is not None and device.device_class.memory_mib < needs.memory_mib:
        return Never(
            "NeverFits",
            f"the job asks for {needs.memory_mib:,.0f} MiB,"
            f" {device.device_class.memory_mib:,.0f} are there",
            peak_memory_mib=needs.memory_mib,
        )
    if not device.has_room_for(needs):
        return Never(
            "NoDisk",
            f"the job asks for {needs.disk_mib:,.0f} MiB of disk,"
            f" {device.disk_free_mib:,.0f} are free",
        )
    return None


def unmet_by(job: Job, kind: DeviceClass, devices: Mapping[str, Device]) -> Never | None:
    """Why the job's own wishes rule out all these devices of a class; None if one is left."""
    needs = job.needs
    if not needs.picky and needs.memory_mib is None:
        return None
    if needs.disk_mib is None and (not needs.device or kind.model in needs.device):
        return unmet_needs(job, Device("", kind))
    nevers = [unmet_needs(job, device) for device in devices.values()]
    if not nevers:
        return Never("EnvMissing", f"the job asks for {' or '.join(job.needs.device) or 'disk'}")
    return None if None in nevers else nevers[0]
