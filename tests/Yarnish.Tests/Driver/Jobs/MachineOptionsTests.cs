using Xunit;
using Yarnish.Cluster;
using Yarnish.Dataflow;
using Yarnish.Embedded;
using Yarnish.Jobs;
using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.Tests.Driver.Jobs;

/// <summary>Every setting about jobs reaches the machine that goes by it.</summary>
public sealed class MachineOptionsTests
{
    private static readonly ApplicationId Application = new("app-1");

    private static JobMachineOptions OnACluster(YarnishOptions options)
    {
        var fleet = new ClusterFleet(
            new RegisterApplication(Application, "test", "me", ""), _ => Task.FromResult(new LaunchSpecification("x", [])), options,
            new InMemoryControlFabric().CreateBus(ControlAddress.Application(Application)), TimeProvider.System);
        return JobRunner.MachineOptions(options, fleet);
    }

    [Fact]
    public void Defaults_are_those_that_the_research_proposes()
    {
        var machine = OnACluster(new YarnishOptions());

        Assert.Equal((4, 4, 300.0), (machine.TaskFailureLimit, machine.StageAttemptLimit, machine.LocalityWait.TotalMilliseconds));
        Assert.Equal((false, 90, 300), (machine.Speculation, machine.SpeculationQuantilePercent, machine.SpeculationMultiplierPercent));
        Assert.Equal((true, 2, 1.0), (machine.Exclusion, machine.ExclusionFailures, machine.ExclusionTime.TotalHours));
        Assert.Equal((true, 1, 1, 16), (machine.Allocation!.Dynamic, machine.Allocation.Initial, machine.Allocation.Minimum, machine.Allocation.Maximum));
        Assert.Equal((1.0, 60.0, 1800.0), (machine.Allocation.Backlog.TotalSeconds, machine.Allocation.Idle.TotalSeconds, machine.Allocation.IdleWithCache.TotalSeconds));
        Assert.Equal(16, machine.SlotLimit);
    }

    [Fact]
    public void Each_setting_arrives()
    {
        var machine = OnACluster(new YarnishOptions
        {
            Executors = new ExecutorRange(3, 3),
            ExecutorCores = 4,
            MaximumTaskFailures = 7,
            MaximumStageAttempts = 6,
            ExecutorTimeout = TimeSpan.FromSeconds(11),
            LocalityWait = TimeSpan.FromSeconds(2),
            Speculation = true,
            SpeculationQuantile = 0.75,
            SpeculationMultiplier = 1.5,
            SpeculationMinimum = TimeSpan.FromSeconds(3),
            Exclusion = false,
            ExclusionFailures = 5,
            ExclusionTime = TimeSpan.FromMinutes(2),
            NowhereToRunTimeout = TimeSpan.FromSeconds(9),
            ExecutorBacklog = TimeSpan.FromSeconds(4),
            ExecutorIdle = TimeSpan.FromSeconds(5),
            ExecutorCachedIdle = TimeSpan.FromSeconds(6),
        });

        Assert.Equal((7, 6, 11.0, 2.0), (machine.TaskFailureLimit, machine.StageAttemptLimit, machine.ExecutorTimeout.TotalSeconds, machine.LocalityWait.TotalSeconds));
        Assert.Equal((true, 75, 150, 3.0), (machine.Speculation, machine.SpeculationQuantilePercent, machine.SpeculationMultiplierPercent, machine.SpeculationMinimum.TotalSeconds));
        Assert.Equal((false, 5, 2.0, 9.0), (machine.Exclusion, machine.ExclusionFailures, machine.ExclusionTime.TotalMinutes, machine.NowhereToRunTimeout.TotalSeconds));
        Assert.Equal((false, 3, 4), (machine.Allocation!.Dynamic, machine.Allocation.Initial, machine.Allocation.SlotsPerExecutor));
        Assert.Equal((4.0, 5.0, 6.0), (machine.Allocation.Backlog.TotalSeconds, machine.Allocation.Idle.TotalSeconds, machine.Allocation.IdleWithCache.TotalSeconds));
        Assert.Equal(12, machine.SlotLimit);
    }

    [Fact]
    public async Task Embedded_excludes_nobody_and_has_the_slots_it_has()
    {
        await using var fleet = new EmbeddedFleet(Application, 3, isolated: false, TimeProvider.System);

        var machine = JobRunner.MachineOptions(new YarnishOptions(), fleet);

        Assert.Equal((false, 3), (machine.Exclusion, machine.SlotLimit));
        Assert.Null(machine.Allocation);
    }
}
