namespace Yarnish.Serialization;

/// <summary>An object that can travel at some times and not at others, such as a broadcast until it is disposed.</summary>
public interface ITravelCondition
{
    /// <summary>Why it cannot travel now, as <c>reason. Cure.</c>; null when it can.</summary>
    string? ReasonToStay { get; }
}
