namespace Yarnish.Serialization;

/// <summary>A key type with equality of its own: it also brings the hash that goes with it.</summary>
public interface IStableKey
{
    /// <summary>Equal for equal keys, in every process: never made from <see cref="object.GetHashCode"/>. <see cref="Serialization.StableHash.Combine"/> helps.</summary>
    ulong StableHash { get; }
}
