using System.Collections.Immutable;
using System.Globalization;
using System.Reflection;
using System.Runtime;
using System.Runtime.InteropServices;
using Yarnish.Status;

namespace Yarnish;

/// <content>The status of the application: kept, logged and served.</content>
public sealed partial class YarnishSession
{
    private static StatusKeeper StartStatus(ApplicationId application, YarnishOptions options, TimeProvider clock)
    {
        var status = new StatusKeeper(null, clock);
        status.Post(new StatusEvent.ApplicationStarted(clock.GetUtcNow(), application, options.Name, Environment.UserName, DriverName(), Version(), options.Address));
        status.Post(new StatusEvent.EnvironmentKnown(clock.GetUtcNow(), RuntimeFacts(), SettingsOf(options)));
        return status;
    }

    private static string DriverName() => string.Create(CultureInfo.InvariantCulture, $"{Environment.MachineName}/{Environment.ProcessId}");

    private static string Version() => typeof(YarnishSession).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "";

    private static ImmutableSortedDictionary<string, string> RuntimeFacts() => new Dictionary<string, string>
    {
        ["framework"] = RuntimeInformation.FrameworkDescription,
        ["runtimeIdentifier"] = RuntimeInformation.RuntimeIdentifier,
        ["operatingSystem"] = RuntimeInformation.OSDescription,
        ["machine"] = Environment.MachineName,
        ["processors"] = Environment.ProcessorCount.ToString(CultureInfo.InvariantCulture),
        ["serverGarbageCollection"] = GCSettings.IsServerGC ? "true" : "false",
        ["program"] = Assembly.GetEntryAssembly()?.GetName().Name ?? "",
        ["commandLine"] = Redaction.OfArguments(Environment.GetCommandLineArgs()),
        ["directory"] = Environment.CurrentDirectory,
    }.ToImmutableSortedDictionary(StringComparer.Ordinal);

    /// <summary>Every setting by the name of its key, without the secrets.</summary>
    internal static ImmutableSortedDictionary<string, string> SettingsOf(YarnishOptions options)
    {
        var settings = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        foreach (var property in typeof(YarnishOptions).GetProperties(BindingFlags.Instance | BindingFlags.Public))
        {
            if (property.Name == nameof(YarnishOptions.ExecutorEnvironment))
            {
                foreach (var (name, value) in options.ExecutorEnvironment)
                {
                    settings[$"{property.Name}:{name}"] = Redaction.Of(name, value);
                }
                continue;
            }
            settings[property.Name] = Redaction.Of(property.Name, Convert.ToString(property.GetValue(options), CultureInfo.InvariantCulture) ?? "");
        }
        return settings.ToImmutable();
    }
}
