using Yarnish.Hosting;
using Yarnish.ResourceManager;
using Yarnish.ResourceManager.Cluster;

// Exit codes: 0 stopped in order, 2 a setting is wrong, 3 another resource manager took over, 1 anything else.
try
{
    var configuration = YarnishConfiguration.Build(args);
    var options = ResourceManagerHost.ReadOptions(configuration);
    using var telemetry = YarnishTelemetry.Start("yarnish-resource-manager", options.ClusterName);
    await using var app = ResourceManagerHost.Build(configuration, options);
    var cluster = app.Services.GetRequiredService<ClusterService>();
    await app.RunAsync();
    return cluster.Deposed ? 3 : 0;
}
catch (ConfigurationException error)
{
    await Console.Error.WriteLineAsync(error.Message);
    return 2;
}
catch (IOException error)
{
    // Kestrel's way to say that the address is taken; the data directory may be unusable too.
    await Console.Error.WriteLineAsync($"The resource manager cannot start: {error.Message}");
    return 1;
}
catch (UnauthorizedAccessException error)
{
    await Console.Error.WriteLineAsync($"The resource manager cannot start: {error.Message} Set Yarnish__DataDirectory to a directory that this user may write.");
    return 1;
}
