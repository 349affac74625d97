using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Scheduling;

// Taking containers back, and showing what would be taken.
public sealed partial class ClusterMachine
{
    private long _preemptedAt;

    /// <summary>What the next round of preemption would take back if it came at <paramref name="now"/>: the same plan that the round follows.</summary>
    /// <param name="now">When.</param>
    public ImmutableArray<PreemptionVictim> PlanPreemption(DateTimeOffset now) => PlanPreemption(now, _state.Configuration.Preemption.RoundPercent);

    // All rounds at once with 100 percent.
    private ImmutableArray<PreemptionVictim> PlanPreemption(DateTimeOffset now, int roundPercent)
    {
        var last = _state.Now;
        _state.Now = Math.Max(last, now.UtcTicks);
        var victims = ImmutableArray.CreateBuilder<PreemptionVictim>();
        foreach (var choice in new PreemptionPlan(_state, _placing, roundPercent).Plan())
        {
            victims.Add(new PreemptionVictim(
                choice.Victim.Id, choice.Victim.Application!.Id, choice.Victim.Node.Id, choice.For.Application.Id, choice.For.AskId, ReasonOf(choice)));
        }
        _state.Now = last;
        return victims.ToImmutable();
    }

    private void Preempt()
    {
        if (_state.Now - _preemptedAt < _state.Configuration.Preemption.Interval.Ticks)
        {
            return;
        }
        _preemptedAt = _state.Now;
        foreach (var choice in new PreemptionPlan(_state, _placing, _state.Configuration.Preemption.RoundPercent).Plan())
        {
            _placing.HoldFor(choice.For, choice.Victim.Node);
            Stop(choice.Victim, ContainerExitCause.Preempted, ReasonOf(choice));
        }
    }

    private static string ReasonOf(PreemptionPlan.Choice choice)
    {
        var asker = choice.For.Application;
        return choice.BetweenQueues
            ? $"Taken back for ask {choice.For.AskId} of application {asker.Id}: queue {asker.Queue.Path} is below its guarantee and queue {choice.Victim.Application!.Queue.Path} above its own."
            : $"Taken back for ask {choice.For.AskId} of application {asker.Id}, whose priority {asker.Priority} in queue {asker.Queue.Path} is higher than {choice.Victim.Application!.Priority}.";
    }
}
